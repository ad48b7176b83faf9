/* A static server for trying the page: any other does as well.
 *
 *   node serve.mjs FOLDER [PORT] [--isolated]
 *
 * --isolated: with the two headers that a page needs to have threads. The tests use it, too. */
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

const TYPES = {'.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css',
               '.wasm': 'application/wasm'};
const ISOLATED = {'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp'};

/* `folders`: by the beginning of the address. Gives {url, close}. */
export async function serve(folders, {port = 0, isolated = false} = {}) {
  const server = http.createServer((request, response) => {
    const name = decodeURIComponent(new URL(request.url, 'http://local').pathname);
    const prefix = Object.keys(folders).filter((each) => name.startsWith(each)).sort((a, b) => b.length - a.length)[0];
    const rest = path.normalize('/' + name.slice(prefix.length)) + (name.endsWith('/') ? 'index.html' : '');
    const file = rest === '/' ? folders[prefix] : path.join(folders[prefix], rest);
    fs.readFile(file, (error, bytes) => {
      response.writeHead(error ? 404 : 200, {'Content-Type': TYPES[path.extname(file)] ?? 'application/octet-stream',
                                             ...(isolated ? ISOLATED : {})});
      response.end(error ? 'not found' : bytes);
    });
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close()};
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const plain = process.argv.slice(2).filter((each) => !each.startsWith('--'));
  const {url} = await serve({'/': path.resolve(plain[0] ?? '.')},
                            {port: Number(plain[1] ?? 8000), isolated: process.argv.includes('--isolated')});
  console.log(url);
}

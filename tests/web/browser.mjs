/* A real browser for tests and comparisons: Debian's Chromium, headless, through playwright-core. It
 * has a folder of its own, draws in software, and reaches nothing but this machine: what asks for
 * any other goes to a proxy that answers nobody and remembers what was asked for. */
import http from 'node:http';
import {chromium} from 'playwright-core';

const FLAGS = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking',
               '--disable-component-update', '--disable-sync', '--disable-gpu', '--use-angle=swiftshader',
               '--enable-unsafe-swiftshader'];

/* What this browser asks of its maker on its own, flags or not. */
const OWN = /^(https?:\/\/)?(update|optimizationguide-pa|content-autofill)\.googleapis\.com[:/]|^(https?:\/\/)?(accounts|clients2|android\.clients)\.google\.com[:/]/;

async function deadEnd() {
  const asked = [];
  const server = http.createServer((request, response) => {
    asked.push(request.url);
    response.writeHead(403);
    response.end();
  });
  server.on('connect', (request, socket) => {
    asked.push(request.url);
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {asked, port: server.address().port, close: () => server.close()};
}

/* {browser, outside(): addresses beyond this machine that were asked for, close} */
export async function open() {
  const proxy = await deadEnd();
  const browser = await chromium.launch({executablePath: '/usr/bin/chromium', headless: true,
                                         args: [...FLAGS, `--proxy-server=127.0.0.1:${proxy.port}`]});
  return {browser, outside: () => proxy.asked.filter((url) => !OWN.test(url)), close: async () => {
    await browser.close();
    proxy.close();
  }};
}

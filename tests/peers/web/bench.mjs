/* Times one network in a browser, in this runtime and in ONNX Runtime Web, which take turns in one page
 * of headless Chromium. Loading is not counted.
 *
 *   npm ci --prefix tests/peers/web --ignore-scripts
 *   node tests/peers/web/bench.mjs MODEL.onnx PLAN DxHxW [THREADS] [ROUNDS]
 *
 * Needs build-web/package (runtime/web/build-package.sh). PLAN is what vnetc made of MODEL, whose
 * window is DxHxW. Times are of the network; CPU times are the whole page's, with what this runtime does
 * around the network. The last line: `ratio: N.NN`, of the medians. */
import fs from 'node:fs';
import path from 'node:path';
import {open} from '../../web/browser.mjs';
import {serve} from '../../../examples/web/serve.mjs';

const [model, plan, size, threads = '1', rounds = '3'] = process.argv.slice(2);
const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const ort = fs.existsSync(`${here}/node_modules`) ? `${here}/node_modules/onnxruntime-web/dist` : process.exit(
    console.error(`run first: npm ci --prefix ${here} --ignore-scripts`) ?? 2);

/* In the page: leaves window.turn, with a function for each engine that runs it once and gives its ms. */
async function prepare({size, threads}) {
  const {load} = await import('/vnet/index.js');
  const ort = await import('/ort/ort.wasm.min.mjs');
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = '/ort/';
  const [d, h, w] = size, voxels = new Float32Array(d * h * w);
  for (let i = 0, x = 1; i < voxels.length; i++) voxels[i] = (x = x * 16807 % 2147483647) / 2147483647;
  const mine = await load('/plan', {threads});
  const s = mine.spacing ?? [1, 1, 1];
  const image = {voxels, dims: [w, h, d], affine: [[s[2], 0, 0, 0], [0, s[1], 0, 0], [0, 0, s[0], 0]]};
  const session = await ort.InferenceSession.create('/model.onnx', {executionProviders: ['wasm']});
  const tensor = new ort.Tensor('float32', voxels, [1, 1, d, h, w]);
  window.turn = {
    async vnet() {
      const result = await mine.segment(image, {everyWindow: true});
      if (result.windows !== 1) throw new Error(`${result.windows} windows`);
      window.memory = result.memoryBytes;
      return result.networkMs;
    },
    async ort() {
      const began = performance.now();
      await session.run({[session.inputNames[0]]: tensor});
      return performance.now() - began;
    },
  };
  await window.turn.vnet();
  await window.turn.ort();
  return ort.env.versions.web;
}

const median = (x) => [...x].sort((a, b) => a - b)[x.length >> 1];
const server = await serve({'/': here, '/vnet/': 'build-web/package', '/ort/': ort, '/plan': path.resolve(plan),
                            '/model.onnx': path.resolve(model)}, {isolated: true});
const {browser, close} = await open();
try {
  const page = await browser.newPage();
  await page.goto(`${server.url}blank.html`);
  const version = await page.evaluate(prepare, {size: size.split('x').map(Number), threads: Number(threads)});
  const system = await browser.newBrowserCDPSession();
  const cpu = async () => (await system.send('SystemInfo.getProcessInfo')).processInfo
      .filter((each) => each.type === 'renderer').reduce((sum, each) => sum + each.cpuTime * 1000, 0);
  const wall = {vnet: [], ort: []}, used = {vnet: [], ort: []};
  for (let round = 0; round < Number(rounds); round++)
    for (const engine of ['vnet', 'ort']) {
      const before = await cpu();
      wall[engine].push(await page.evaluate((name) => window.turn[name](), engine));
      used[engine].push(await cpu() - before);
    }
  const show = (x) => x.map((ms) => ms.toFixed(0)).join(' ');
  const memory = await page.evaluate(() => window.memory);
  console.log(`vnet: ${show(wall.vnet)} ms, CPU ${show(used.vnet)} ms, ${(memory / 2 ** 20).toFixed(0)} MiB`);
  console.log(`ONNX Runtime Web ${version}: ${show(wall.ort)} ms, CPU ${show(used.ort)} ms`);
  console.log(`ratio of CPU times: ${(median(used.ort) / median(used.vnet)).toFixed(2)}`);
  console.log(`ratio: ${(median(wall.ort) / median(wall.vnet)).toFixed(2)}`);
} finally {
  await close();
  server.close();
}

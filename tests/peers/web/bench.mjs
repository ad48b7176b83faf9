/* Times one network in a browser, in this runtime and in ONNX Runtime Web, which take turns in one page
 * of headless Chromium. Loading is not counted.
 *
 *   npm ci --prefix tests/peers/web --ignore-scripts
 *   node tests/peers/web/bench.mjs MODEL.onnx PLAN DxHxW [THREADS] [ROUNDS]
 *
 * Needs build-web/package (runtime/web/build-package.sh). PLAN is what vnetc made of MODEL, whose
 * window is DxHxW. The last line: `ratio: N.NN`, of the medians. */
import fs from 'node:fs';
import path from 'node:path';
import {open} from '../../web/browser.mjs';
import {serve} from '../../../examples/web/serve.mjs';

const [model, plan, size, threads = '1', rounds = '3'] = process.argv.slice(2);
const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const ort = fs.existsSync(`${here}/node_modules`) ? `${here}/node_modules/onnxruntime-web/dist` : process.exit(
    console.error(`run first: npm ci --prefix ${here} --ignore-scripts`) ?? 2);

/* In the page. */
async function bench({size, threads, rounds}) {
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
  const tensor = new ort.Tensor('float32', voxels, [1, 1, d, h, w]), times = {vnet: [], ort: []};
  for (let round = 0; round < rounds; round++) {
    const result = await mine.segment(image, {everyWindow: true});
    if (result.windows !== 1) throw new Error(`${result.windows} windows`);
    times.vnet.push(result.networkMs);
    const began = performance.now();
    await session.run({[session.inputNames[0]]: tensor});
    times.ort.push(performance.now() - began);
  }
  return {times, memory: (await mine.segment(image, {everyWindow: true})).memoryBytes, ort: ort.env.versions.web};
}

const median = (x) => [...x].sort((a, b) => a - b)[x.length >> 1];
const server = await serve({'/': here, '/vnet/': 'build-web/package', '/ort/': ort, '/plan': path.resolve(plan),
                            '/model.onnx': path.resolve(model)}, {isolated: true});
const {browser, close} = await open();
try {
  const page = await browser.newPage();
  await page.goto(`${server.url}blank.html`);
  const found = await page.evaluate(bench, {size: size.split('x').map(Number), threads: Number(threads),
                                            rounds: Number(rounds)});
  const {vnet, ort} = found.times, show = (x) => x.map((ms) => ms.toFixed(0)).join(' ');
  console.log(`vnet: ${show(vnet)} ms, ${(found.memory / 2 ** 20).toFixed(0)} MiB`);
  console.log(`ONNX Runtime Web ${found.ort}: ${show(ort)} ms`);
  console.log(`ratio: ${(median(ort) / median(vnet)).toFixed(2)}`);
} finally {
  await close();
  server.close();
}

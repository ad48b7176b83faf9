/* The npm package and examples/web in a real browser, without threads and with them. Judge of the
 * labels is the native vnet-run, on plain C kernels: WebAssembly gives the same bits.
 *
 *   node tests/web/run.mjs [PICTURES_DIR]
 *
 * Needs build/ with vnet-run, build-web/page (examples/web/build.sh), and Debian's mricron-data. */
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import {open} from './browser.mjs';
import {serve} from '../../examples/web/serve.mjs';

const CH2 = '/usr/share/mricron/templates/ch2.nii.gz';
const PAGE = 'build-web/page';
const pictures = process.argv[2] ?? 'build-web/pictures';
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'vnet-web-'));
const VERSION_AT = 12; // of a plan: its format's major version, schemas/plan.h
let passed = 0, failed = 0;

async function test(name, body) {
  const began = Date.now();
  try {
    await body();
    passed++;
    console.log(`ok      ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}

/* ---- what is expected ---- */

const rows = execFileSync('build/tools/vnet-run', ['-q', `${PAGE}/brain.plan`, CH2, '-o', `${scratch}/native.nii`, '--isa', 'portable',
                                                   '--largest-component', '--csv'], {encoding: 'utf8'}).split('\n');
const softMl = Number(rows[2].split(',')[rows[0].split(',').indexOf('soft_ml')]);
const native = fs.readFileSync(`${scratch}/native.nii`);
const plan = fs.readFileSync(`${PAGE}/brain.plan`);
/* One class in a byte from 352 on, voxels of 1 mm. */
const ml = native.subarray(352).filter((label) => label === 1).length / 1000;

/* But for the field that says who wrote it. */
const [BY, BY_END] = [148, 228];
const digest = (file) => createHash('sha256').update(file.subarray(0, BY)).update(file.subarray(BY_END)).digest('hex');

fs.writeFileSync(`${scratch}/other.plan`, Object.assign(Buffer.from(plan), {[VERSION_AT]: 99}));
fs.writeFileSync(`${scratch}/cut.plan`, plan.subarray(0, 100000));
fs.writeFileSync(`${scratch}/text.nii`, 'not a scan '.repeat(100));
fs.writeFileSync(`${scratch}/cut.nii.gz`, fs.readFileSync(CH2).subarray(0, 200000));
const scan = zlib.gunzipSync(fs.readFileSync(CH2));
fs.writeFileSync(`${scratch}/ch2.nii`, scan);

/* The same scan, of one byte a voxel, as MRtrix writes it: the page knows that format by NiiVue alone. */
function mrtrix(nifti) {
  const [NDIM, SFORM, VOXELS] = [40, 280, 108];
  const dims = [1, 2, 3].map((axis) => nifti.readInt16LE(NDIM + 2 * axis));
  const rows = [0, 1, 2].map((row) => [0, 1, 2, 3].map((column) => nifti.readFloatLE(SFORM + 16 * row + 4 * column)));
  const size = 4096, voxels = nifti.subarray(nifti.readFloatLE(VOXELS));
  const text = ['mrtrix image', `dim: ${dims}`, 'vox: 1,1,1', 'layout: +0,+1,+2', 'datatype: UInt8',
                ...rows.map((row) => `transform: ${row}`), `file: . ${size}`, 'END', ''].join('\n');
  return Buffer.concat([Buffer.alloc(size, text.padEnd(size, '\0')), voxels.subarray(0, dims[0] * dims[1] * dims[2])]);
}
fs.writeFileSync(`${scratch}/ch2.mif`, mrtrix(scan));

/* Two channels in one file, that file's volumes, and regions that overlap, as the native program has them. */
const FIXTURES = 'tests/fixtures/scan', made = (name) => `${scratch}/${name}`;
const native_of = (...words) => execFileSync('build/tools/vnet-run', ['-q', ...words, '--isa', 'portable']);
for (const name of ['inputs2', 'regions'])
  execFileSync('build/tools/vnetc', ['-q', `${FIXTURES}/${name}.onnx`, '-o', made(`${name}.plan`), '--topology', 'any']);
{
  const [DIM, BITS, VOXELS] = [40, 70, 352], dims = [12, 11, 10], count = 1320;
  const file = (volumes, value) => {
    const bytes = Buffer.alloc(VOXELS + 4 * count * volumes);
    scan.copy(bytes, 0, 0, VOXELS);
    [4, ...dims, volumes, 1, 1, 1].forEach((n, i) => bytes.writeInt16LE(n, DIM + 2 * i));
    bytes.writeInt16LE(16, BITS); // float32
    bytes.writeInt16LE(32, BITS + 2);
    for (let i = 0; i < count * volumes; i++) bytes.writeFloatLE(value(i % count, Math.floor(i / count)), VOXELS + 4 * i);
    return bytes;
  };
  fs.writeFileSync(made('both.nii'), file(2, (i, volume) => (volume ? 5 * (i % 13) : i % 10)));
  fs.writeFileSync(made('mixed.nii'), file(1, (i) => (i * 7 % 40) / 10));
  native_of(made('inputs2.plan'), made('both.nii'), '-o', made('both.seg.nii'));
  native_of(made('regions.plan'), made('mixed.nii'), '-o', made('mixed.seg.nii'), '--regions', made('each.nii'));
}
/* More metadata for an ONNX model: protobuf takes what follows. */
function said(key, value) {
  const field = (number, bytes) => Buffer.from([number << 3 | 2, bytes.length, ...bytes]);
  return field(14, Buffer.concat([field(1, Buffer.from(key)), field(2, Buffer.from(value))]));
}

/* The voxels of mixed.nii as NRRD packs them, under a header that ends with how. */
{
  const nifti = fs.readFileSync(made('mixed.nii')), row = (r) => [0, 1, 2, 3].map((i) => nifti.readFloatLE(280 + 16 * r + 4 * i));
  const [x, y, z] = [0, 1, 2].map(row), vector = (i) => `(${x[i]},${y[i]},${z[i]})`;
  const header = ['NRRD0004', 'type: float', 'dimension: 3', 'space: right-anterior-superior', 'sizes: 12 11 10',
                  `space directions: ${[0, 1, 2].map(vector).join(' ')}`, `space origin: ${vector(3)}`, 'endian: little'];
  const voxels = zlib.gzipSync(nifti.subarray(352));
  fs.writeFileSync(made('last.nrrd'), Buffer.concat([Buffer.from([...header, 'encoding: gzip', '', ''].join('\n')), voxels]));
  fs.writeFileSync(made('windows.nrrd'), Buffer.concat([Buffer.from([...header, 'encoding: gz ', '', ''].join('\r\n')), voxels]));
}

/* Folds with a grid, a window and a rule of their own, one by one and averaged; and one that tells other labels. */
const FOLDS = {fold0: ['--patch', '16x16x16', '--orientation', 'RAS', '--intensity', 'zscore', '--tail', 'softmax'],
               fold1: ['--patch', '12x20x24', '--seed', '7', '--orientation', 'LIP', '--spacing', '1.5 1 2', '--intensity', 'percentile 1 99',
                       '--member', 'monai'],
               fold2: ['--patch', '20x16x12', '--seed', '9', '--intensity', 'window 0 4', '--tail', 'logsoftmax']};
for (const [name, words] of Object.entries({...FOLDS, four: ['--classes', '4']})) {
  execFileSync('build/tools/vnet-model', ['--width', '4', '--stages', '2', '--classes', '3', ...words, '-o', made(`${name}.onnx`)]);
  if (name === 'fold0') fs.appendFileSync(made('fold0.onnx'), said('vnet.validation_dice', '2 0.25'));
  execFileSync('build/tools/vnetc', ['-q', made(`${name}.onnx`), '-o', made(`${name}.plan`)]);
}
for (const names of [...Object.keys(FOLDS), Object.keys(FOLDS)].map((one) => [one].flat()))
  native_of(names.map((name) => made(`${name}.plan`)).join(), made('mixed.nii'), '-o', made(`${names.join('')}.seg.nii`));
const native_labels = (name) => Array.from(fs.readFileSync(made(name)).subarray(352));

/* ---- the package ---- */

/* In the page: what tests share. */
function prepare() {
  window.get = async (url, name) => new File([await (await fetch(url)).arrayBuffer()], name);
  window.hash = async (bytes) => Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)),
                                            (byte) => byte.toString(16).padStart(2, '0')).join('');
  window.refusal = async (work) => {
    try {
      await work();
      return 'was done';
    } catch (error) {
      return {name: error.name, code: error.code, status: error.status, message: error.message};
    }
  };
  return import('/vnet/index.js').then((vnet) => { window.vnet = vnet; });
}

async function packageTests(browser, server, threads) {
  const context = await browser.newContext(), page = await context.newPage();
  const called = (name) => `${threads ? 'threads' : 'no threads'}: ${name}`;
  await page.goto(`${server.url}blank.html`);
  await page.evaluate(prepare);

  await test(called('what cannot be loaded'), async () => {
    const load = (url, options) => page.evaluate(([url, options]) => refusal(() => vnet.load(url, options)), [url, options]);
    const other = await load('/made/other.plan');
    assert.deepEqual([other.name, other.code, other.status], ['VnetError', 'VN_E_UNSUPPORTED', 5]);
    assert.match(other.message, /format version 99.*compile the model again/);
    const cut = await load('/made/cut.plan');
    assert.equal(cut.code, 'VN_E_FORMAT');
    assert.match(cut.message, /should have.*truncated/);
    assert.equal((await load('/made/text.nii')).code, 'VN_E_FORMAT');
    assert.equal((await load('/made/absent.plan')).code, 'VN_E_IO');
    const little = await load('/page/brain.plan', {memoryLimit: 64 << 20});
    assert.equal(little.code, 'VN_E_MEMORY');
    assert.match(little.message, /\d+(\.\d+)? MiB/);
    assert.equal((await load('/page/brain.plan', {memoryLimit: 1 << 20})).code, 'VN_E_MEMORY');
    assert.equal((await load('/page/brain.plan', {threads: 0})).code, 'VN_E_ARGUMENT');
    if (!threads) assert.match((await load('/page/brain.plan', {threads: 2})).message, /not cross-origin isolated/);
  });

  await test(called('ch2 as a file, labels and file as the native ones'), async () => {
    const got = await page.evaluate(async (threads) => {
      window.model = await vnet.load('/page/brain.plan', threads ? {threads} : {});
      window.ch2 = await get('/made/ch2.nii', 'ch2.nii');
      let longest = 0, last = performance.now(), told = [];
      const watch = setInterval(() => {
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
      }, 10);
      const result = await model.segment(ch2, {file: 'ch2.seg.nii', largestComponent: true, onProgress: (f) => told.push(f)});
      clearInterval(watch);
      window.labels = result.labels;
      const file = new Blob([result.file.slice(0, 148), result.file.slice(228)]);
      return {digest: await hash(await file.arrayBuffer()), longest, told, threads: model.threads,
              classes: result.classes, notes: result.notes, warning: result.warning, memory: result.memoryBytes};
    }, threads);
    assert.equal(got.digest, digest(native));
    assert.equal(got.threads, threads || 1);
    assert.ok(got.told.length > 10 && got.told.every((f, i) => i === 0 || f >= got.told[i - 1]), 'progress goes on');
    assert.ok(got.longest < 1000, `the page stood still for ${got.longest} ms`);
    assert.equal(got.classes[1].name, 'brain');
    assert.ok(Math.abs(got.classes[1].ml - ml) < 1e-6, `${got.classes[1].ml} ml for ${ml}`);
    assert.ok(Math.abs(got.classes[1].softMl - softMl) < 1e-6, `${got.classes[1].softMl} ml for ${softMl}`);
    assert.ok(got.memory < 400 << 20, `${got.memory} bytes`);
    assert.equal(got.warning, null);
  });

  await test(called('cancelled, and once more from an array, gzipped'), async () => {
    const got = await page.evaluate(async () => {
      const stop = new AbortController();
      let pressed;
      const cancelled = await refusal(() => model.segment(ch2, {signal: stop.signal, onProgress: (f) => {
        if (f < 0.3 || pressed) return;
        pressed = performance.now();
        stop.abort();
      }}));
      const ms = performance.now() - pressed;
      const bytes = await ch2.arrayBuffer(), head = new DataView(bytes);
      const dims = [1, 2, 3].map((i) => head.getInt16(40 + 2 * i, true));
      const affine = [0, 1, 2].map((row) => [0, 1, 2, 3].map((i) => head.getFloat32(280 + 16 * row + 4 * i, true)));
      const voxels = new Uint8Array(bytes, 352), copy = voxels.slice();
      const result = await model.segment({voxels: copy, dims, affine}, {transfer: true, largestComponent: true});
      return {cancelled, ms, left: copy.length, same: result.labels.every((x, i) => x === labels[i]),
              need: await model.memory({voxels, dims, affine}), open: model.memoryBytes};
    });
    assert.equal(got.cancelled.name, 'AbortError');
    assert.ok(got.ms < 1000, `it took ${got.ms} ms`);
    assert.equal(got.left, 0);
    assert.ok(got.same, 'the labels differ');
    assert.ok(got.need > got.open && got.need < 500 << 20, `${got.need}`);
  });

  await test(called('what cannot be segmented'), async () => {
    const got = await page.evaluate(async () => {
      const voxels = new Uint8Array(1000), dims = [10, 10, 10], affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
      const run = async (image, options) => refusal(() => model.segment(image, options));
      return {text: await run(await get('/made/text.nii', 'text.nii')), cut: await run(await get('/made/cut.nii.gz', 'cut.nii.gz')),
              short: await run({voxels: voxels.subarray(1), dims, affine}), flat: await run({voxels, dims, affine: affine.slice(1)}),
              unknown: await run({voxels, dims, affine, world: 'UNKNOWN'}), name: await run({voxels, dims, affine}, {file: 'x.png'}),
              two: await run([{voxels, dims, affine}, {voxels, dims, affine}]),
              nan: await run({voxels: Float32Array.from(voxels, (_, i) => (i === 555 ? NaN : i)), dims, affine})};
    });
    const code = Object.fromEntries(Object.entries(got).map(([name, error]) => [name, error.code]));
    assert.deepEqual(code, {text: 'VN_E_FORMAT', cut: 'VN_E_FORMAT', short: 'VN_E_ARGUMENT', flat: 'VN_E_ARGUMENT',
                            unknown: 'VN_E_UNSUPPORTED', name: 'VN_E_ARGUMENT', two: 'VN_E_ARGUMENT', nan: 'VN_E_FORMAT'});
    assert.match(got.text.message, /^text\.nii: /);
    assert.match(got.cut.message, /truncated/);
  });

  await test(called('several channels, and regions that overlap'), async () => {
    const got = await page.evaluate(async () => {
      const both = await get('/made/both.nii', 'both.nii'), mixed = await get('/made/mixed.nii', 'mixed.nii');
      const bytes = await both.arrayBuffer(), head = new DataView(bytes), dims = [12, 11, 10];
      const affine = [0, 1, 2].map((row) => [0, 1, 2, 3].map((i) => head.getFloat32(280 + 16 * row + 4 * i, true)));
      const [pet, ct] = [0, 1].map((i) => ({voxels: new Float32Array(bytes, 352 + 5280 * i, 1320), dims, affine}));
      const two = await vnet.load('/made/inputs2.plan'), regions = await vnet.load('/made/regions.plan');
      const run = async (image, options) => Array.from((await two.segment(image, options)).labels);
      const moved = {...ct, affine: affine.map((row, i) => (i ? row : [...row.slice(0, 3), row[3] + 1]))};
      const each = await regions.segment(mixed, {regions: true});
      const all = {names: two.channelNames, regions: [two.regions, regions.regions], file: await run(both), list: await run([pet, ct]),
                   named: await run({CT: ct, PET: pet}), matched: await run([pet, moved], {matchGrids: true}),
                   missing: await refusal(() => two.segment({PET: pet})), grids: await refusal(() => two.segment([pet, moved])),
                   one: await refusal(() => two.segment(pet)), three: await refusal(() => two.segment([pet, ct, ct])),
                   none: await refusal(() => two.segment([pet, ct], {regions: true})), need: await two.memory([pet, ct]),
                   map: Array.from(each.labels), each: Array.from(each.regions)};
      two.close();
      regions.close();
      return all;
    });
    assert.deepEqual([got.names, got.regions], [['pet', 'ct'], [0, 3]]);
    for (const way of ['file', 'list', 'named']) assert.deepEqual(got[way], native_labels('both.seg.nii'), way);
    assert.notDeepEqual(got.matched, got.list);
    assert.deepEqual(got.map, native_labels('mixed.seg.nii'));
    assert.deepEqual(got.each, native_labels('each.nii'));
    assert.match(got.missing.message, /the model's are pet, ct/);
    assert.match(got.grids.message, /ct: lies up to 1 mm from the first image's grid/);
    assert.match(got.one.message, /1 image for a network of 2 channels \(pet, ct\)/);
    assert.equal(got.three.code, 'VN_E_ARGUMENT');
    assert.match(got.none.message, /exclude each other/);
    assert.ok(got.need > 0);
  });

  await test(called('several plans are averaged'), async () => {
    const got = await page.evaluate(async (threads) => {
      const made = (...names) => names.map((name) => `/made/${name}.plan`), set = threads ? {threads} : {};
      const mixed = await get('/made/mixed.nii', 'mixed.nii'), told = [], stop = new AbortController();
      const bytes = await (await fetch('/made/fold1.plan')).arrayBuffer();
      const folds = await vnet.load(['/made/fold0.plan', bytes, new URL('/made/fold2.plan', location)],
                                    {...set, onProgress: (f) => told.push(f)});
      const alone = await vnet.load(made('fold0'), set), need = [];
      const run = async (model) => Array.from((await model.segment(mixed)).labels);
      const labels = await run(folds);
      const cancelled = await refusal(() => folds.segment(mixed, {signal: stop.signal, onProgress: () => stop.abort()}));
      const image = {voxels: new Float32Array(1320), dims: [12, 11, 10], affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]};
      for (const model of [folds, alone]) need.push(model.memoryBytes, await model.memory(image));
      const all = {labels, told, cancelled, need, again: await run(folds), one: await run(alone), patch: folds.patch, threads: folds.threads,
                   dice: [alone, folds].map((model) => model.labels.map((label) => label.validationDice)),
                   none: await refusal(() => vnet.load([])), four: await refusal(() => vnet.load(made('fold0', 'four'), set)),
                   two: await refusal(() => vnet.load(made('fold0', 'fold1', 'inputs2'), set)),
                   cut: await refusal(() => vnet.load(made('fold0', 'cut'), set)),
                   regions: await refusal(() => vnet.load(made('regions', 'four'), set))};
      folds.close();
      alone.close();
      return all;
    }, threads);
    const mean = native_labels('fold0fold1fold2.seg.nii');
    assert.deepEqual(got.labels, mean);
    assert.deepEqual(got.again, mean);
    assert.deepEqual(got.one, native_labels('fold0.seg.nii'));
    for (const name of Object.keys(FOLDS)) assert.notDeepEqual(native_labels(`${name}.seg.nii`), mean, `the mean is ${name}`);
    assert.equal(got.cancelled.name, 'AbortError');
    assert.ok(got.told.every((f, i) => i === 0 || f >= got.told[i - 1]), 'progress goes on');
    assert.deepEqual([got.patch, got.threads], [[16, 16, 16], threads || 1]);
    assert.deepEqual(got.dice, [[NaN, NaN, 0.25], [NaN, NaN, NaN]]);
    const [open, need, one, needOne] = got.need;
    assert.ok(open > one && need >= needOne + open - one + 3 * 4 * 1320, `${got.need}`);
    assert.match(got.none.message, /a list of no plans/);
    assert.deepEqual([got.four.code, got.four.message],
                     ['VN_E_ARGUMENT', 'model 2: tells 4 labels with the background, and the first model 3']);
    assert.equal(got.two.message, 'model 3: takes 2 channels, and the first model 1');
    assert.match(got.cut.message, /^model 2: .*truncated/);
    assert.equal(got.cut.code, 'VN_E_FORMAT');
    assert.equal(got.regions.message, 'model 2: tells labels that exclude each other, and the first model regions that may overlap');
  });

  await test(called('packed NRRD, arrays of any kind, and bytes that are taken away'), async () => {
    const got = await page.evaluate(async () => {
      const mixed = await get('/made/mixed.nii', 'mixed.nii'), bytes = await mixed.arrayBuffer(), head = new DataView(bytes);
      const dims = [12, 11, 10], affine = [0, 1, 2].map((row) => [0, 1, 2, 3].map((i) => head.getFloat32(280 + 16 * row + 4 * i, true)));
      const plan = await (await fetch('/made/fold0.plan')).arrayBuffer(), stop = new AbortController();
      const model = await vnet.load(plan, {base: '/vnet'});
      structuredClone(plan, {transfer: [plan]});
      const run = async (image) => Array.from((await model.segment(image)).labels), all = {};
      all.cancelled = await refusal(() => model.segment(mixed, {signal: stop.signal, onProgress: () => stop.abort()}));
      for (const name of ['last', 'windows']) all[name] = await run(await get(`/made/${name}.nrrd`, `${name}.nrrd`));
      all.named = await run({voxels: new (class Voxels extends Float32Array {})(bytes, 352, 1320), dims, affine});
      const both = await get('/made/both.nii', 'both.nii'), two = await vnet.load('/made/inputs2.plan'), buffer = await both.arrayBuffer();
      const channels = [0, 1].map((i) => ({voxels: new Float32Array(buffer, 352 + 5280 * i, 1320), dims, affine}));
      all.moved = Array.from((await two.segment(channels, {transfer: true})).labels);
      two.close();
      const late = refusal(() => model.segment(mixed));
      await Promise.resolve();
      model.close();
      return {...all, late: await late};
    });
    assert.equal(got.cancelled.name, 'AbortError');
    for (const way of ['last', 'windows', 'named']) assert.deepEqual(got[way], native_labels('fold0.seg.nii'), way);
    assert.deepEqual(got.moved, native_labels('both.seg.nii'));
    assert.deepEqual([got.late.code, got.late.message], ['VN_E_CANCELLED', 'the model was closed']);
  });

  await test(called('more than the memory limit is refused with the figure'), async () => {
    const got = await page.evaluate(async () => {
      model.close();
      const closed = await refusal(() => model.segment(ch2));
      const small = await vnet.load('/page/brain.plan', {memoryLimit: 230 << 20, threads: 1});
      const run = await refusal(() => small.segment(ch2));
      small.close();
      return {closed, run};
    });
    assert.match(got.closed.message, /closed/);
    assert.equal(got.run.code, 'VN_E_MEMORY');
    assert.match(got.run.message, /MiB|memory/);
  });
  await context.close();
}

/* ---- the page ---- */

const DONE = new RegExp(`^Done in .*brain ${ml.toFixed(1).replace('.', '[.]')} ml`);

async function pageTests(browser, server) {
  const context = await browser.newContext({viewport: {width: 1280, height: 800}, acceptDownloads: true});
  const page = await context.newPage(), faults = [], asked = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  context.on('request', (request) => asked.push(request.url()));
  const status = (pattern) => page.getByRole('status').filter({hasText: pattern}).waitFor({timeout: 90000});
  const picture = (name) => page.screenshot({path: `${pictures}/${name}.png`, fullPage: true});

  await test('page: a scan, the button, the labels, the file', async () => {
    await page.goto(`${server.url}page/`);
    await status(/^Ready/);
    await picture('empty');
    await page.setInputFiles('#file', CH2);
    await status(/is open/);
    const run = page.getByRole('button', {name: 'Find the brain'});
    await run.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', {name: 'Cancel'}).click();
    await status(/^Cancelled/);
    await run.click();
    await page.getByRole('progressbar', {name: 'Progress'}).waitFor();
    await status(DONE);
    assert.ok((await page.getByRole('row', {name: /brain/}).textContent()).includes(`${ml.toFixed(1)} ml`));
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', {name: /^Save/}).click()]);
    assert.equal(download.suggestedFilename(), 'ch2.seg.nii.gz');
    assert.equal(digest(zlib.gunzipSync(fs.readFileSync(await download.path()))), digest(native));
    await page.locator('#canvas').focus();
    await page.keyboard.press('ArrowUp');
    await page.waitForTimeout(500);
    await picture('wide');
    await page.setViewportSize({width: 390, height: 844});
    await page.waitForTimeout(500);
    await picture('narrow');
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 390, `${width} pixels wide`);
    assert.deepEqual(faults, []);
  });

  await test('page: a scan that NiiVue reads', async () => {
    await page.setInputFiles('#file', `${scratch}/ch2.mif`);
    await status(/ch2\.mif is open/);
    await page.getByRole('button', {name: 'Find the brain'}).click();
    await status(DONE);
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', {name: /^Save/}).click()]);
    const saved = zlib.gunzipSync(fs.readFileSync(await download.path())), LABELS = 352;
    assert.ok(saved.subarray(LABELS).equals(native.subarray(LABELS)));
  });

  await test('page: a wrong file is refused in a sentence', async () => {
    await page.setInputFiles('#file', `${scratch}/text.nii`);
    await status(/is open/);
    await page.getByRole('button', {name: 'Find the brain'}).click();
    await page.getByRole('alert').filter({hasText: 'text.nii: '}).waitFor();
    await page.setInputFiles('#plan', `${scratch}/other.plan`);
    await page.getByRole('alert').filter({hasText: 'compile the model again'}).waitFor();
    await picture('refused');
  });

  await test('page: without its server, after it was loaded', async () => {
    await page.evaluate(() => navigator.serviceWorker.ready);
    await context.setOffline(true);
    await page.reload();
    await status(/^Ready/);
  });

  await test('page: nothing was asked of another server', () => {
    assert.deepEqual(asked.filter((url) => !url.startsWith(server.url) && !/^(blob|data):/.test(url)), []);
  });
  await context.close();
}

/* ---- all ---- */

fs.mkdirSync(pictures, {recursive: true});
const folders = {'/': path.resolve('tests/web'), '/vnet/': path.resolve(PAGE, 'vnet'), '/page/': path.resolve(PAGE), '/made/': scratch};
const {browser, outside, close} = await open();
for (const threads of [0, 2]) {
  const server = await serve(folders, {isolated: threads > 0});
  await packageTests(browser, server, threads);
  if (!threads) await pageTests(browser, server);
  server.close();
}
await close();
await test('the browser reached for no other machine', () => assert.deepEqual(outside(), []));
fs.rmSync(scratch, {recursive: true});
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);

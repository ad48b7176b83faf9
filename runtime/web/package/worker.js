/* One model in a worker of its own: index.js sends what to do, and this calls vnet_web.c. It runs
 * one call at a time and keeps nothing of an image when the call has returned. A classic worker,
 * for what emscripten makes of threads are classic workers, too. */
'use strict';

/* As in vnet_segment.h and vnet_web.c. */
const VOXEL = {Uint8: 0, Int8: 1, Uint16: 2, Int16: 3, Uint32: 4, Int32: 5, BigUint64: 6, BigInt64: 7,
               Float32: 8, Float64: 9, Uint8Clamped: 0};
const WORLD = {UNKNOWN: 0, RAS: 1, LPS: 2};
const TEXT = {version: 0, topology: 1, orientation: 2, intensity: 3, isa: 4, note: 5, warning: 6};
const MEMORY = 6, CANCELLED = 7; // VN_E_…
const READING = 0.1; // of a call on files, by rule of thumb
const PAGE = 65536;

let module, web, memory, channels;

class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

// ---- the module ----

/* The largest block that this browser lets us grow into, up to `limit`. */
function memoryMake(limit, shared) {
  for (let pages = Math.min(65536, Math.floor(limit / PAGE)); pages >= 256; pages = pages >> 1) {
    try {
      memory = new WebAssembly.Memory({initial: 256, maximum: pages, shared});
      return pages * PAGE;
    } catch (error) {
      if (pages < 512) throw new Refusal(MEMORY, `the browser gives no memory: ${error.message}`);
    }
  }
  throw new Refusal(MEMORY, `a memory limit of ${limit} bytes is below the 16 MiB that the library ` +
                    'begins with');
}

/* Each plan has threads of its own, one of which is this worker. */
async function begin({base, threads, compiled, limit, plans}) {
  const name = threads ? 'vnet-threads' : 'vnet';
  let failed;
  const broken = new Promise((_, reject) => { failed = reject; });
  importScripts(base + name + '.js');
  const most = memoryMake(limit, threads > 0);
  const made = vnetModule({
    wasmMemory: memory,
    memoryMost: most,
    workers: plans * (threads - 1),
    mainScriptUrlOrBlob: base + name + '.js',
    locateFile: (file) => base + file,
    instantiateWasm(imports, receive) {
      WebAssembly.instantiate(compiled, imports).then(
          (instance) => receive(instance, compiled),
          (error) => failed(new Error(`${name}.wasm and ${name}.js do not go together: ${error.message}`)));
      return {};
    },
    onFraction: (fraction) => postMessage({fraction}),
    print: () => {}, printErr: () => {},
  });
  module = await Promise.race([made, broken]); // which emscripten would not tell
  web = module._web_create();
  if (!web) throw new Refusal(MEMORY, 'out of memory');
}

// ---- numbers, texts, bytes ----

const heap = (Type, at, length) => new Type(memory.buffer, at, length);
const numbers = () => heap(Float64Array, module._web_numbers(web), 32);
const words = (address) => (address ? module.UTF8ToString(address) : null);
const text = (which) => words(module._web_text(web, TEXT[which]));

function check(status) {
  if (status) throw new Refusal(status, words(module._web_sentence(web)));
}

/* A copy in the module's memory, which C frees; an empty one has an address, too. */
function bytesIn(bytes, what) {
  const at = module._web_alloc(bytes.byteLength || 1);
  if (!at) throw new Refusal(MEMORY, `no memory for ${what}, ${bytes.byteLength} bytes`);
  heap(Uint8Array, at, bytes.byteLength)
      .set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  return at;
}

// ---- gzip, which is the browser's ----

const isGzip = (bytes) => bytes.length > 2 && bytes[0] === 0x1F && bytes[1] === 0x8B;

/* Through a stream of the browser's; more than `most` bytes are refused before they are there. */
async function streamed(bytes, stream, most) {
  const parts = [];
  let length = 0;
  const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader();
  for (let part; !(part = await reader.read()).done; parts.push(part.value)) {
    length += part.value.length;
    const cancelled = heap(Uint8Array, module._web_cancel_byte(web), 1)[0];
    if (length <= most && !cancelled) continue;
    reader.cancel();
    throw cancelled ? new Refusal(CANCELLED, 'cancelled')
                    : new Refusal(MEMORY, 'the file unpacks to more than the memory limit');
  }
  const all = new Uint8Array(length);
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

async function unpacked(bytes, name, most) {
  try {
    return await streamed(bytes, new DecompressionStream('gzip'), most);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(4, `${name}: damaged or truncated gzip file`);
  }
}

/* NRRD packs its voxels and leaves its header, of 1 MiB at most: the same file, unpacked. Not what has lines or
 * bytes to be skipped before that. */
async function nrrdUnpacked(bytes, name, most) {
  const head = new TextDecoder('latin1').decode(bytes.subarray(0, 1 << 20));
  const end = head.search(/\n\r?\n/), fields = head.slice(0, end + 1);
  const field = /^encoding:[ \t]*(gzip|gz)[ \t]*(?=\r?$)/im.exec(fields);
  if (end < 0 || !field || /^(data ?file:|(line|byte) ?skip:[ \t]*[^ \t0])/im.test(fields)) return bytes;
  const body = end + /\n\r?\n/.exec(head.slice(end))[0].length;
  const header = head.slice(0, field.index) + 'encoding: raw' +
                 head.slice(field.index + field[0].length, body);
  const voxels = await unpacked(bytes.subarray(body), name, most);
  const all = new Uint8Array(header.length + voxels.length);
  for (let i = 0; i < header.length; i++) all[i] = header.charCodeAt(i);
  all.set(voxels, header.length);
  return all;
}

/* What libvnet-scan reads: nothing is packed any more, and neither says the name so. */
async function plain({bytes, name}, most) {
  if (isGzip(bytes)) bytes = await unpacked(bytes, name, most);
  else if (bytes[0] === 0x4E && bytes[1] === 0x52) bytes = await nrrdUnpacked(bytes, name, most);
  return {bytes, path: '/' + plainName(name)};
}

// ---- what index.js may ask for ----

/* The sentence says which of several plans it is about. */
function planOpen(plan, part, parts, threads) {
  try {
    check(module._web_open(web, bytesIn(plan, 'the plan'), plan.byteLength, threads || 1, part / parts, 1 / parts));
  } catch (error) {
    if (parts > 1) error.message = `model ${part + 1}: ${error.message}`;
    throw error;
  }
}

function open({plans, threads}) {
  plans.forEach((plan, i) => planOpen(plan, i, plans.length, threads));
  check(module._web_describe(web));
  const [count, images, d, h, w, sd, sh, sw, named, used, bytes, regions] = numbers();
  channels = images;
  const labels = [];
  for (let value = 0; value < count; value++) {
    const rgb = module._web_label_rgb(web, value);
    labels.push({value, name: words(module._web_label_name(web, value)),
                 colour: [rgb >> 16, rgb >> 8 & 255, rgb & 255],
                 validationDice: module._web_validation_dice(web, value)});
  }
  const channelNames = Array.from({length: channels}, (_, i) => words(module._web_channel_name(web, i)));
  return {labels, channels, channelNames, regions, patch: [d, h, w], spacing: sd ? [sd, sh, sw] : null,
          orientation: text('orientation'), intensity: text('intensity'), named: named !== 0,
          topology: text('topology'), version: text('version'), threads: used, memoryBytes: bytes,
          cancelByte: module._web_cancel_byte(web)};
}

function imagePut({voxels, type, dims, affine, slope, inter, world}) {
  numbers().set([...dims, ...affine, slope, inter]);
  check(module._web_image(web, voxels ? bytesIn(voxels, 'the voxels') : 0, VOXEL[type], WORLD[world]));
}

async function scanPut(file, part, parts, most) {
  const {bytes, path} = await plain(file, most);
  module.FS.writeFile(path, bytes, {canOwn: true});
  const at = bytesIn(new TextEncoder().encode(path + '\0'), 'a name');
  try {
    check(module._web_scan(web, at, READING * part / parts, READING / parts));
  } catch (error) {
    error.message = error.message.replaceAll(path, file.name);
    throw error;
  } finally {
    module._web_free(at);
    module.FS.unlink(path);
  }
}

function optionsPut(o) {
  numbers().set([o.overlap, o.weighting === 'constant', ...['d', 'h', 'w'].map((a) => o.mirror.includes(a)),
                 o.everyWindow, o.replaceNaN, o.largestComponent, o.minVolumeMl, o.windowsMost,
                 o.matchGrids, o.regions]
                    .map(Number));
}

/* A name that says: not packed. */
const plainName = (name) => name.replace(/[/\0]/g, '_').replace(/\.gz$/i, '').replace(/\.mgz$/i, '.mgh');

async function written(name) {
  const path = '/' + plainName(name), gzip = /\.(gz|mgz)$/i.test(name);
  const at = bytesIn(new TextEncoder().encode(path + '\0'), 'a name');
  try {
    check(module._web_write(web, at));
    const bytes = module.FS.readFile(path);
    return gzip ? await streamed(bytes, new CompressionStream('gzip'), Infinity) : bytes;
  } finally {
    module._web_free(at);
    if (module.FS.analyzePath(path).exists) module.FS.unlink(path);
  }
}

function measure(value) {
  module._web_measure(web, value);
  const [voxels, ml, mean, sd, x, y, z, softMl] = numbers();
  return {voxels, ml, softMl, mean, sd, centroid: [x, y, z]};
}

async function segment({images, files, options, labels, limit}) {
  const started = performance.now();
  try {
    for (const image of images) imagePut(image);
    for (let i = 0; i < files.length; i++) await scanPut(files[i], i, files.length, limit);
    optionsPut(options);
    check(module._web_segment(web, files.length ? READING : 0));
    const [windows, skipped, replaced, removed, networkMs, ...rest] = numbers();
    const dims = rest.slice(0, 3), voxels = dims[0] * dims[1] * dims[2];
    const Type = labels > 256 ? Uint16Array : Uint8Array;
    const map = heap(Type, module._web_labels(web), voxels).slice(); // the only copy: handed over
    const each = module._web_regions(web);
    const regions = each ? heap(Uint8Array, each, voxels * (labels - 1)).slice() : null;
    const measures = Array.from({length: labels}, (_, value) => measure(value));
    const scanNotes = Array.from({length: channels}, (_, i) => words(module._web_scan_note(web, i)));
    const file = options.file ? await written(options.file) : null;
    return {labels: map, regions, dims, affine: rest.slice(3, 15), measures, file,
            notes: [...scanNotes, text('note')].filter(Boolean), warning: text('warning') || null,
            windows, skipped, replaced, removed, networkMs, elapsedMs: performance.now() - started,
            memoryBytes: memory.buffer.byteLength};
  } finally {
    module._web_forget(web);
  }
}

function need({images, options}) {
  try {
    for (const image of images) imagePut(image);
    optionsPut(options);
    check(module._web_memory(web));
    return numbers()[0];
  } finally {
    module._web_forget(web);
  }
}

const calls = {begin, open, segment, need};

onmessage = async ({data: {call, ...what}}) => {
  try {
    const result = await calls[call](what);
    const move = [result?.labels?.buffer, result?.regions?.buffer, result?.file?.buffer].filter(Boolean);
    postMessage({result, memory: call === 'begin' ? shared() : undefined}, move);
  } catch (error) {
    const status = error instanceof Refusal ? error.status : 1;
    postMessage({error: {status, message: error.message || String(error)}});
  }
};

/* The page writes into shared memory to cancel; what is not shared it does not get. */
const shared = () => (typeof SharedArrayBuffer === 'function' && memory.buffer instanceof SharedArrayBuffer ?
                      memory : undefined);

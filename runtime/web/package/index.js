/* vnet in a web page: load a plan, segment images. The work is done in a worker (worker.js), with
 * threads where the page may have them. This file knows no C: it keeps calls in order, hands bytes
 * to and fro, and cancels. index.d.ts is its reference. */

const CODES = ['VN_OK', 'VN_E_INTERNAL', 'VN_E_ARGUMENT', 'VN_E_IO', 'VN_E_FORMAT', 'VN_E_UNSUPPORTED',
               'VN_E_MEMORY', 'VN_E_CANCELLED'];
const [INTERNAL, ARGUMENT, IO, UNSUPPORTED, CANCELLED] = [1, 2, 3, 5, 7];
const THREADS_MOST = 32;
const LIMIT = 2 ** 32 - 65536;

export class VnetError extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.name = 'VnetError';
    this.status = status;
    this.code = CODES[status];
  }
}

const refuse = (status, sentence) => {
  throw new VnetError(status, sentence);
};

// ---- what a caller gives ----

async function fetched(url, what, signal) {
  let response;
  try {
    response = await fetch(url, {signal});
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    refuse(IO, `${what} cannot be read from ${url}: ${error.message}`);
  }
  if (!response.ok) refuse(IO, `${what} cannot be read from ${url}: ${response.status} ${response.statusText}`);
  return response;
}

/* Of each plan of a list, or of the one. */
async function plansTaken(plan, signal) {
  const plans = Array.isArray(plan) ? plan : [plan];
  if (!plans.length) refuse(ARGUMENT, 'a list of no plans');
  return Promise.all(plans.map((each) => planBytes(each, signal)));
}

async function planBytes(plan, signal) {
  if (typeof plan === 'string' || plan instanceof URL) plan = await fetched(plan, 'the plan', signal);
  if (plan instanceof Response || plan instanceof Blob) plan = await plan.arrayBuffer();
  const [buffer, at, length] = ArrayBuffer.isView(plan) ? [plan.buffer, plan.byteOffset, plan.byteLength] : [plan];
  if (Object.prototype.toString.call(buffer).endsWith('ArrayBuffer]'))
    return new Uint8Array(buffer, at, length).slice(); // which a restart needs, whatever becomes of the caller's
  return refuse(ARGUMENT, 'a plan is a URL, a Blob, a Response or its bytes');
}

/* Row by row: 3x4 or 4x4, flat or nested. */
function affineFlat(affine) {
  const flat = Array.from(affine ?? []).flatMap((row) => (typeof row === 'number' ? row : Array.from(row)));
  const plain = flat.length === 12 || (flat.length === 16 && flat[12] === 0 && flat[13] === 0 &&
                                       flat[14] === 0 && flat[15] === 1);
  if (!plain) refuse(ARGUMENT, 'the affine is not 3x4 or 4x4 numbers, row by row, with the last row 0 0 0 1');
  return flat.slice(0, 12);
}

function imageTaken(image, withVoxels) {
  const dims = Array.from(image?.dims ?? []);
  const type = image?.voxels?.[Symbol.toStringTag]?.replace(/Array$/, '');
  if (dims.length !== 3 || !dims.every((n) => Number.isSafeInteger(n) && n > 0))
    refuse(ARGUMENT, 'dims are three whole numbers: the voxels along i, j and k');
  if (!ArrayBuffer.isView(image.voxels) || image.voxels instanceof DataView)
    refuse(ARGUMENT, 'voxels are a typed array, i fastest');
  if (image.voxels.length !== dims[0] * dims[1] * dims[2])
    refuse(ARGUMENT, `${dims.join(' x ')} voxels are ${dims[0] * dims[1] * dims[2]}, and the array has ` +
           image.voxels.length);
  const half = type === 'Float16';
  const world = image.world ?? 'RAS';
  if (!['RAS', 'LPS', 'UNKNOWN'].includes(world)) refuse(ARGUMENT, "world is 'RAS', 'LPS' or 'UNKNOWN'");
  return {voxels: withVoxels ? (half ? Float32Array.from(image.voxels) : image.voxels) : null,
          type: half ? 'Float32' : type, dims, affine: affineFlat(image.affine), world,
          slope: image.slope ?? 0, inter: image.inter ?? 0};
}

/* Images in the model's order: one, a list, or by the names of its channels, in letters of either case. */
function inOrder(image, names) {
  if (Array.isArray(image)) return image;
  if (!image || image instanceof Blob || image.voxels !== undefined) return [image];
  if (!names.every(Boolean)) refuse(ARGUMENT, 'the model does not name its channels: give an array of images');
  const given = new Map(Object.entries(image).map(([name, each]) => [name.toLowerCase(), each]));
  const order = names.map((name) => given.get(name.toLowerCase()));
  if (given.size !== Object.keys(image).length || given.size !== names.length || order.includes(undefined))
    refuse(ARGUMENT, `images of the channels ${Object.keys(image).join(', ')}: the model's are ${names.join(', ')}`);
  return order;
}

function optionsTaken(options) {
  const file = options.file ?? null;
  if (file !== null && !/.\.(nii|nii\.gz|mgh|mgz)$/i.test(file))
    refuse(ARGUMENT, `${file}: the name of a result ends in .nii, .nii.gz, .mgh or .mgz`);
  const overlap = options.overlap ?? 0.5;
  return {overlap: overlap === 0 ? -1 : overlap, weighting: options.weighting ?? 'gaussian',
          mirror: options.mirror ?? '', everyWindow: options.everyWindow ?? false,
          replaceNaN: options.replaceNaN ?? false, largestComponent: options.largestComponent ?? false,
          minVolumeMl: options.minVolumeMl ?? 0, windowsMost: options.windowsMost ?? 0,
          matchGrids: options.matchGrids ?? false, regions: options.regions ?? false, file};
}

function threadsTaken(threads) {
  if (threads !== undefined && !(Number.isSafeInteger(threads) && threads > 0))
    refuse(ARGUMENT, `threads is ${threads}, and has to be 1 or more`);
  if (globalThis.crossOriginIsolated)
    return threads ?? Math.min(navigator.hardwareConcurrency || 1, THREADS_MOST);
  if (threads > 1)
    refuse(UNSUPPORTED, 'this page is not cross-origin isolated, so that it cannot have threads: serve it ' +
           'with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp');
  return 0;
}

// ---- a model ----

export async function load(plan, options = {}) {
  const {signal, onProgress, memoryLimit = LIMIT} = options;
  const folder = options.base?.toString().replace(/\/*$/, '/');
  const base = new URL(folder ?? './', folder ? document.baseURI : import.meta.url).href;
  const threads = threadsTaken(options.threads);
  signal?.throwIfAborted();
  const plans = await plansTaken(plan, signal);
  const file = `${base}${threads ? 'vnet-threads' : 'vnet'}.wasm`;
  const compiled = await WebAssembly.compile(await (await fetched(file, 'the library', signal)).arrayBuffer());
  const model = new Model({base, threads, compiled, limit: memoryLimit, plans});
  await model._start({signal, onProgress});
  return model;
}

class Model {
  #set; // what it was loaded with
  #worker = null; // none: closed, or ended by a cancel
  #memory; // shared with the worker, or undefined
  #cancelByte;
  #last = Promise.resolve(); // the call before
  #giveUp = () => {}; // rejects the call that is under way
  #closed = false;

  constructor(set) {
    this.#set = set;
  }

  /* Starts the worker and opens the plans in it. */
  async _start(watch) {
    const {plans, ...set} = this.#set;
    this.#worker = new Worker(new URL('worker.js', set.base));
    try {
      await this.#ask({call: 'begin', plans: plans.length, ...set}, watch);
      const {cancelByte, ...about} = await this.#ask({call: 'open', plans, threads: set.threads}, watch);
      this.#cancelByte = cancelByte;
      Object.assign(this, about);
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  #end() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#memory = this.#cancelByte = undefined;
  }

  /* Without shared memory nothing reaches a worker that computes: it is ended, and started again
   * when it is needed. */
  #cancel(reject, signal) {
    if (this.#memory && this.#cancelByte) {
      Atomics.store(new Uint8Array(this.#memory.buffer), this.#cancelByte, 1);
      return;
    }
    this.#end();
    reject(signal.reason);
  }

  /* One call of the worker's. */
  #ask(message, {signal, onProgress, move = []} = {}) {
    const worker = this.#worker;
    let abort;
    const answer = new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      this.#giveUp = reject;
      abort = () => this.#cancel(reject, signal);
      signal?.addEventListener('abort', abort);
      worker.onmessage = ({data}) => {
        if (data.fraction !== undefined) return onProgress?.(data.fraction);
        if (data.memory) this.#memory = data.memory;
        if (data.error && signal?.aborted) return reject(signal.reason);
        return data.error ? reject(this.#failed(data.error)) : resolve(data.result);
      };
      worker.onerror = (event) => {
        event.preventDefault?.();
        reject(this.#failed({status: INTERNAL, message: `the worker failed: ${event.message ?? 'not loaded'}`}));
      };
      if (this.#memory && this.#cancelByte)
        Atomics.store(new Uint8Array(this.#memory.buffer), this.#cancelByte, 0);
      worker.postMessage(message, move);
    });
    return answer.finally(() => signal?.removeEventListener('abort', abort));
  }

  /* What failed inside is not used again. */
  #failed({status, message}) {
    if (status === INTERNAL) this.#end();
    return new VnetError(status, message);
  }

  /* In the order in which they were made. */
  #inTurn(work) {
    const turn = this.#last.then(async () => {
      if (this.#closed) refuse(ARGUMENT, 'the model is closed');
      return work();
    });
    this.#last = turn.catch(() => {});
    return turn;
  }

  segment(image, options = {}) {
    return this.#inTurn(async () => {
      const several = inOrder(image, this.channelNames);
      const isFile = several.every((each) => each instanceof Blob);
      const images = isFile ? [] : several.map((each) => imageTaken(each, true));
      const files = isFile ? await Promise.all(several.map(fileTaken)) : [];
      if (this.#closed) throw closed();
      const call = {call: 'segment', images, files, options: optionsTaken(options),
                    labels: this.labels.length, limit: this.#set.limit};
      const move = [...files.map((file) => file.bytes.buffer),
                    ...(options.transfer ? new Set(images.map((each) => each.voxels.buffer)) : [])];
      options.signal?.throwIfAborted();
      if (!this.#worker) await this._start({signal: options.signal});
      return this.#result(await this.#ask(call, {signal: options.signal, onProgress: options.onProgress, move}),
                          options.file);
    });
  }

  #result({measures, affine, file, removed, ...rest}, name) {
    const classes = this.labels.map((label, value) => ({...label, ...measures[value]}));
    return {...rest, classes, affine: [...affine, 0, 0, 0, 1], removedVoxels: removed,
            file: file && new File([file], name, {type: 'application/octet-stream'})};
  }

  memory(image, options = {}) {
    return this.#inTurn(async () => {
      const images = inOrder(image, this.channelNames).map((each) => imageTaken(each, false));
      if (!this.#worker) await this._start({});
      return this.#ask({call: 'need', images, options: optionsTaken(options)});
    });
  }

  close() {
    this.#closed = true;
    this.#end();
    this.#giveUp(closed());
  }
}

const closed = () => new VnetError(CANCELLED, 'the model was closed');

async function fileTaken(blob) {
  return {bytes: new Uint8Array(await blob.arrayBuffer()), name: blob.name || 'scan'};
}

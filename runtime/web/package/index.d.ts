/** vnet in a web page: a plan that `vnetc` wrote, and images to labels on the images' own grid. The
 *  work is done in a worker, so that the page never freezes. Research software, not a medical device. */

/** What goes wrong, as the library says it. An abort rejects with `signal.reason` instead. */
export class VnetError extends Error {
  /** The library's number; `vnet-run` would exit with it. */
  readonly status: 1 | 2 | 3 | 4 | 5 | 6 | 7;
  readonly code: 'VN_E_INTERNAL' | 'VN_E_ARGUMENT' | 'VN_E_IO' | 'VN_E_FORMAT' | 'VN_E_UNSUPPORTED' |
      'VN_E_MEMORY' | 'VN_E_CANCELLED';
}

export interface LoadOptions {
  /** 1 to 32. Default: one for each core where the page is cross-origin isolated, else one. */
  threads?: number;
  /** Bytes that the library may take in all, 16 MiB to 4 GiB, the default. What would take more is
   *  refused beforehand, with the figure, where it can be known. */
  memoryLimit?: number;
  /** Where the package's files are. Default: beside index.js. */
  base?: string | URL;
  signal?: AbortSignal;
  onProgress?: (fraction: number) => void;
}

/** A URL to fetch it from, or its bytes. */
export type Plan = string | URL | Blob | Response | ArrayBufferLike | ArrayBufferView;

/** Opens a plan. Of several, such as the folds of a training, voxels are labelled by the mean of the
 *  probabilities: they take the same channels in the same order and tell the same labels; grid, window and
 *  intensities are each one's own. What the model says of itself is the first one's. Each has threads of its
 *  own, and all of them are in memory at once. */
export function load(plan: Plan | readonly Plan[], options?: LoadOptions): Promise<Model>;

export type Voxels = Uint8Array | Uint8ClampedArray | Int8Array | Uint16Array | Int16Array | Uint32Array |
    Int32Array | BigUint64Array | BigInt64Array | Float32Array | Float64Array;

/** Voxels in memory. Voxel (i, j, k) is voxels[i + dims[0] * (j + dims[1] * k)]. */
export interface Image {
  voxels: Voxels;
  /** Of i, j, k. */
  dims: ArrayLike<number>;
  /** (i, j, k, 1) to mm of the voxels' centres: 3x4 or 4x4 numbers, row by row (row-major), flat or as
   *  rows. NiiVue's `hdr.affine` is such rows; gl-matrix and WebGL are column-major: transpose those. */
  affine: ArrayLike<number> | ArrayLike<ArrayLike<number>>;
  /** Which way the world's axes point: 'RAS' (NIfTI, NiiVue; the default), 'LPS' (DICOM, ITK), or
   *  'UNKNOWN', which a model that was trained in an orientation refuses. */
  world?: 'RAS' | 'LPS' | 'UNKNOWN';
  /** A voxel's value is slope * stored + inter. Default: as stored. */
  slope?: number;
  inter?: number;
}

export interface RunOptions {
  /** Of windows, from 0 to below 1. Default: 0.5. */
  overlap?: number;
  weighting?: 'gaussian' | 'constant';
  /** Letters of 'dhw': axes along which flipped windows are averaged, too; labels that are each
   * other's mirror in vnet.labels change sides. */
  mirror?: string;
  /** Windows with nothing but background are run, too. */
  everyWindow?: boolean;
  /** Voxels that are not finite become the smallest value, not an error. */
  replaceNaN?: boolean;
  /** Keeps the largest piece of each label. */
  largestComponent?: boolean;
  /** Removes pieces that are smaller. */
  minVolumeMl?: number;
  /** More windows are refused. Default: 10000, and more of small ones. */
  windowsMost?: number;
  /** Images that lie on other grids than the first one's are brought onto it, not refused. */
  matchGrids?: boolean;
}

export interface SegmentOptions extends RunOptions {
  /** Called with the share that is done, from 0 to 1, up to thirty times a second. */
  onProgress?: (fraction: number) => void;
  /** Aborting ends the run. With threads that takes milliseconds and the model stays open; without them
   *  the worker is ended at once, and the next call opens the plan again. */
  signal?: AbortSignal;
  /** Hands the voxels' buffers over to the worker, which saves a copy of them; the caller's arrays are
   *  empty afterwards. Not for voxels in a SharedArrayBuffer. */
  transfer?: boolean;
  /** Asks for each of the model's overlapping regions by itself, too. */
  regions?: boolean;
  /** A name for the labels as a file: .nii, .nii.gz, .mgh or .mgz. Of a scan that came as a file of the
   *  same format it has the geometry bit for bit. */
  file?: string;
}

export interface Label {
  value: number;
  name: string;
  /** 0 to 255. */
  colour: [red: number, green: number, blue: number];
  /** The mean Dice score of this label over cases that the model was not trained on, as its author says; NaN
   *  where that is not known, and where several models are averaged. */
  validationDice: number;
}

export interface MeasuredLabel extends Label {
  voxels: number;
  ml: number;
  /** What the label's probabilities add up to; NaN where they are none. */
  softMl: number;
  /** Of the image's values under the label; NaN where there are none. */
  mean: number;
  sd: number;
  /** In the image's world. */
  centroid: [x: number, y: number, z: number];
}

export interface Result {
  /** In the order of the image's voxels. Uint16Array: more than 256 labels. */
  labels: Uint8Array | Uint16Array;
  /** Where they were asked for: region after region, each in the order of the image's voxels, 1 inside. */
  regions: Uint8Array | null;
  dims: [number, number, number];
  /** 4x4, row by row; RAS for files, the image's own otherwise. */
  affine: number[];
  /** By value; 0 is the background. */
  classes: MeasuredLabel[];
  /** Why the result may be of no use, in a sentence. */
  warning: string | null;
  /** What was found in the image or its file: filling, values of a CT, what is harmless now. */
  notes: string[];
  /** Where `file` asked for it. */
  file: File | null;
  windows: number;
  skipped: number;
  replaced: number;
  removedVoxels: number;
  networkMs: number;
  elapsedMs: number;
  /** What the library has taken of the browser's memory so far; it goes back with close(). */
  memoryBytes: number;
}

/** A plan made ready for images. Calls are done one after the other, in the order in which they were made. */
export interface Model {
  readonly labels: Label[];
  /** Whether the model names its labels. */
  readonly named: boolean;
  /** Images that a call takes, in the model's order. */
  readonly channels: number;
  /** What it calls them; null where it does not say. */
  readonly channelNames: (string | null)[];
  /** 0: labels exclude each other; else labels 1 to `regions` may overlap, and in the map the one that the
   *  model lists last lies on top. */
  readonly regions: number;
  /** Voxels of a window along the model's d, h, w. */
  readonly patch: [number, number, number];
  /** mm along the model's d, h, w; null: the image's own. */
  readonly spacing: [number, number, number] | null;
  readonly orientation: string | null;
  /** How values are normalised: 'percentile 0.5 99.5, ct 0 80' …; 'none'. */
  readonly intensity: string;
  /** What the compiler recognised. */
  readonly topology: string;
  /** Of the library. */
  readonly version: string;
  readonly threads: number;
  /** That the open model takes, without the plan. */
  readonly memoryBytes: number;

  /** Labels every voxel of an image, or of a file (NIfTI, NRRD, MGH, gzipped or not; a File, for its name
   *  says what it is). A model of several channels takes an array, an object by their names, or a file of so
   *  many volumes. */
  segment(image: Image | Blob | Image[] | Blob[] | Record<string, Image> | Record<string, Blob>, options?: SegmentOptions): Promise<Result>;
  /** The most bytes that the model and segment() would hold together, the image and labels aside. Refuses
   *  what segment() would, as far as that can be known without looking at voxels. */
  memory(image: Image | Image[] | Record<string, Image>, options?: RunOptions): Promise<number>;
  /** Ends the worker and frees all of its memory. A call under way is rejected. */
  close(): void;
}

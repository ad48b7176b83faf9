/* Compiled, not run: the package's declarations as a viewer in TypeScript would use them. */
import {load, VnetError, type Image, type Model, type Plan, type Result} from 'vnet-web';

export async function brain(voxels: Int16Array, rows: number[][], stop: AbortController): Promise<Map<string, number>> {
  const model: Model = await load('brain.plan', {threads: 2, memoryLimit: 1 << 30, signal: stop.signal});
  const image: Image = {voxels, dims: [512, 512, 300], affine: rows, world: 'LPS', slope: 1, inter: -1024};
  try {
    const result: Result = await model.segment(image, {
      signal: stop.signal, onProgress: (fraction) => console.log(fraction.toFixed(2)), largestComponent: true, file: 'brain.nii.gz',
    });
    const file: File | null = result.file;
    if (file) URL.createObjectURL(file);
    return new Map(result.classes.map((label) => [label.name, label.ml]));
  } catch (error) {
    if (error instanceof VnetError && error.code === 'VN_E_MEMORY') return new Map();
    throw error;
  } finally {
    model.close();
  }
}

// @ts-expect-error voxels are a typed array
export const wrong = (model: Model) => model.segment({voxels: [1, 2], dims: [1, 1, 2], affine: []});

export const several = async (model: Model, t1: Image, t2: Image): Promise<Uint8Array | null> =>
    (await model.segment({T1: t1, T2: t2}, {matchGrids: true, regions: model.regions > 0})).regions;

export const averaged = async (folds: readonly Plan[]): Promise<number> => (await load(folds, {threads: 1})).regions;

// @ts-expect-error one list of plans, not two arguments
export const pair = () => load('fold0.plan', 'fold1.plan');

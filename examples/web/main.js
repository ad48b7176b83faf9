/* The page: opens a scan in NiiVue, has vnet label it, shows and saves the labels. What it knows of
 * vnet is in the package's index.d.ts. */
import {load} from './vnet/index.js';
import {Niivue, NVImage} from './niivue.js';

const at = (id) => document.getElementById(id);
const GRID = 2; // NiiVue's MULTIPLANAR_TYPE.GRID
const READ_BY_VNET = /\.(nii|hdr|nrrd|mgh|mgz)(\.gz)?$/i;

let viewer = null; // null: this browser cannot draw
let model = null;
let scan = null; // {file, shown}
let result = null;
let stop = null; // an AbortController, while something is under way

// ---- what the page says ----

function say(text) {
  if (at('status').textContent !== text) at('status').textContent = text;
}

function fail(error) {
  at('error').textContent = error ? error.message : '';
  at('error').hidden = !error;
}

function update() {
  at('run').disabled = !model || !scan || stop !== null;
  at('run').textContent = model ? `Find the ${names()}` : 'Find the brain';
  at('open').disabled = at('open-first').disabled = at('other').disabled = stop !== null;
  at('work').hidden = stop === null;
  at('result').hidden = result === null;
  at('empty').hidden = scan !== null;
  at('open').hidden = scan === null;
}

const names = () => model.labels.slice(1).map((label) => label.name).join(', ');
const stem = (name) => name.replace(/(\.gz|\.mgz)$/i, '').replace(/\.(nii|hdr|nrrd|mgh)$/i, '');
const ml = (x) => `${x.toFixed(1)} ml`;

/* Often for the eye, seldom for the ear. */
function progress(what) {
  let told = 0;
  return (fraction) => {
    at('progress').value = fraction;
    const quarter = Math.floor(fraction * 4);
    if (quarter <= told) return;
    told = quarter;
    say(`${what}: ${quarter * 25} %`);
  };
}

/* One thing at a time, and it can be cancelled. */
async function during(what, work) {
  stop = new AbortController();
  fail(null);
  at('progress').value = 0;
  say(`${what} …`);
  update();
  try {
    await work(stop.signal);
  } catch (error) {
    if (stop.signal.aborted) say('Cancelled.');
    else {
      say('');
      fail(error);
    }
  } finally {
    stop = null;
    update();
  }
}

// ---- the model ----

function modelDescribe() {
  const rows = {Labels: names(), Network: model.topology, Window: `${model.patch.join(' x ')} voxels`,
                'Voxel size': model.spacing ? `${model.spacing.join(' x ')} mm` : "the scan's own",
                Threads: model.threads > 1 || crossOriginIsolated ? `${model.threads}`
                  : '1 (the server does not isolate this page: see the README)',
                Memory: `${Math.round(model.memoryBytes / 1e6)} MB`, Version: model.version};
  at('model').replaceChildren(...Object.entries(rows).flatMap(([name, value]) => {
    const dt = document.createElement('dt'), dd = document.createElement('dd');
    dt.textContent = name;
    dd.textContent = value;
    return [dt, dd];
  }));
}

const modelOpen = (plan, name) => during(`Loading ${name}`, async (signal) => {
  const opened = await load(plan, {signal, onProgress: progress(`Loading ${name}`)});
  model?.close();
  model = opened;
  modelDescribe();
  say(scan ? 'Ready.' : 'Ready. Open a scan.');
});

// ---- a scan ----

async function scanShow(file) {
  if (!viewer) return null;
  const shown = await NVImage.loadFromFile({file, name: file.name});
  while (viewer.volumes.length) viewer.removeVolumeByIndex(0);
  viewer.addVolume(shown);
  return shown;
}

const scanOpen = (file) => during(`Opening ${file.name}`, async () => {
  let shown = null;
  try {
    shown = await scanShow(file);
  } catch (error) { // vnet's own sentence is better, where it reads the file
    if (!READ_BY_VNET.test(file.name))
      throw new Error(`${file.name}: not a scan that this page can open (${error.message ?? error})`);
  }
  if (!shown && viewer) while (viewer.volumes.length) viewer.removeVolumeByIndex(0);
  scan = {file, shown};
  result = null;
  at('canvas').setAttribute('aria-label', `Scan ${file.name}`);
  say(`${file.name} is open.`);
});

/* What vnet reads itself keeps its geometry bit for bit; of the rest it takes NiiVue's voxels. */
function imageOf({file, shown}) {
  if (READ_BY_VNET.test(file.name)) return file;
  if (!shown) throw new Error(`${file.name}: this page cannot read it without a picture`);
  return {voxels: shown.img, dims: shown.hdr.dims.slice(1, 4), affine: shown.hdr.affine,
          slope: shown.hdr.scl_slope, inter: shown.hdr.scl_inter};
}

// ---- labels ----

async function labelsShow() {
  if (!scan.shown) return;
  const overlay = await NVImage.loadFromFile({file: result.file, name: result.file.name});
  const colour = result.classes.map((label) => label.colour);
  overlay.setColormapLabel({R: colour.map((c) => c[0]), G: colour.map((c) => c[1]), B: colour.map((c) => c[2]),
                            A: colour.map((_, value) => (value ? 255 : 0)), I: colour.map((_, value) => value),
                            labels: result.classes.map((label) => label.name)});
  overlay.opacity = Number(at('opacity').value);
  while (viewer.volumes.length > 1) viewer.removeVolumeByIndex(1);
  viewer.addVolume(overlay);
}

function labelRow(label) {
  const row = document.createElement('tr'), name = document.createElement('th'), volume = document.createElement('td');
  const colour = document.createElement('span');
  colour.className = 'colour';
  colour.style.background = `rgb(${label.colour.join(' ')})`;
  name.scope = 'row';
  name.append(colour, label.name);
  volume.className = 'number';
  volume.textContent = ml(label.ml);
  row.append(name, volume);
  return row;
}

function resultDescribe(seconds) {
  const found = result.classes.slice(1), text = found.map((label) => `${label.name} ${ml(label.ml)}`).join(', ');
  at('result-name').textContent = result.file.name;
  at('labels').replaceChildren(...found.map(labelRow));
  at('warning').textContent = result.warning ?? '';
  at('warning').hidden = !result.warning;
  at('notes').replaceChildren(...result.notes.map((note) => {
    const item = document.createElement('li');
    item.textContent = note;
    return item;
  }));
  at('canvas').setAttribute('aria-label', `Scan ${scan.file.name} with labels: ${text}`);
  say(`Done in ${seconds.toFixed(1)} s: ${text}.`);
}

const segment = () => during('Segmenting', async (signal) => {
  const began = performance.now();
  result = null;
  result = await model.segment(imageOf(scan), {signal, onProgress: progress('Segmenting'), largestComponent: true,
                                               file: `${stem(scan.file.name)}.seg.nii.gz`});
  resultDescribe((performance.now() - began) / 1000);
  await labelsShow();
});

function save() {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(result.file);
  link.download = result.file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// ---- hands and keys ----

const STEPS = {ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], PageUp: [0, 1, 0], PageDown: [0, -1, 0],
               ArrowUp: [0, 0, 1], ArrowDown: [0, 0, -1]};

function wire() {
  const pick = (input) => at(input).click();
  at('open').onclick = at('open-first').onclick = () => pick('file');
  at('other').onclick = () => pick('plan');
  at('file').onchange = ({target}) => target.files.length && scanOpen(target.files[0]).then(() => { target.value = ''; });
  at('plan').onchange = ({target}) => target.files.length &&
    modelOpen(target.files[0], target.files[0].name).then(() => { target.value = ''; });
  at('run').onclick = segment;
  at('cancel').onclick = () => stop?.abort();
  at('save').onclick = save;
  at('opacity').oninput = ({target}) => viewer?.volumes.length > 1 && viewer.setOpacity(1, Number(target.value));
  at('canvas').addEventListener('keydown', (event) => {
    const step = STEPS[event.key];
    if (!step || !viewer?.volumes.length) return;
    event.preventDefault();
    viewer.moveCrosshairInVox(...step);
  });
  addEventListener('dragover', (event) => {
    event.preventDefault();
    at('view').classList.add('over');
  });
  addEventListener('dragleave', () => at('view').classList.remove('over'));
  addEventListener('drop', (event) => {
    event.preventDefault();
    at('view').classList.remove('over');
    if (event.dataTransfer.files.length && !stop) scanOpen(event.dataTransfer.files[0]);
  });
}

async function viewerStart() {
  const canvas = at('canvas');
  if (!document.createElement('canvas').getContext('webgl2')) return;
  const niivue = new Niivue({dragAndDropEnabled: false, backColor: [0, 0, 0, 1], crosshairColor: [1, 0.79, 0.3, 0.7],
                             crosshairWidth: 0.5, fontColor: [0.95, 0.95, 0.95, 1], isCornerOrientationText: true,
                             multiplanarForceRender: true, logLevel: 'error', loadingText: ''});
  await niivue.attachToCanvas(canvas);
  niivue.setMultiplanarLayout(GRID);
  viewer = niivue;
}

wire();
update();
await viewerStart().catch(() => {});
if (!viewer) fail(new Error('This browser has no WebGL 2: the scan is not drawn, and is labelled all the same.'));
navigator.serviceWorker?.register('offline.js').catch(() => {}); // without one the page needs its server
await modelOpen('brain.plan', 'the brain model');

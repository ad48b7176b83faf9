/* Keeps the page's own files, so that it works without its server once it was loaded. build.sh fills
 * in the version, a hash of them all: a new build takes the place of an old one. */
const NAME = 'vnet-VERSION';
const FILES = ['./', 'style.css', 'main.js', 'niivue.js', 'brain.plan', ...[
  'index.js', 'worker.js', 'vnet.js', 'vnet.wasm', 'vnet-threads.js', 'vnet-threads.wasm', 'vnet-threads.worker.js',
].map((file) => `vnet/${file}`)];

addEventListener('install', (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(FILES)).then(() => skipWaiting()));
});

addEventListener('activate', (event) => {
  event.waitUntil(caches.keys()
      .then((names) => Promise.all(names.filter((name) => /^vnet-/.test(name) && name !== NAME)
          .map((name) => caches.delete(name))))
      .then(() => clients.claim()));
});

addEventListener('fetch', (event) => {
  event.respondWith(caches.match(event.request, {ignoreSearch: true}).then((kept) => kept ?? fetch(event.request)));
});

// What the network took for what: the confusion matrix, and pictures that it named right and wrong.

const kMostNumbered = 20;  // classes up to which every cell shows its number

function confusion(data) {
  const n = data.classes.length, counts = new Map(), rows = new Array(n).fill(0);
  for (const [truth, predicted, count] of data.counts) {
    counts.set(truth * n + predicted, count);
    rows[truth] += count;
  }
  const share = (truth, predicted) => rows[truth] ? (counts.get(truth * n + predicted) ?? 0) / rows[truth] : 0;
  const sentence = (truth, predicted) => `${data.classes[truth]} taken for ${data.classes[predicted]}: ` +
      `${counts.get(truth * n + predicted) ?? 0} of ${rows[truth]} (${percent(share(truth, predicted), 1)})`;
  const colour = (value) => `color-mix(in srgb, var(--blue) ${Math.round(100 * Math.sqrt(value))}%, var(--page))`;
  byId('confusion-hint').textContent = `The ${data.split} part, ${rows.reduce((a, b) => a + b, 0)} pictures. ` +
      (n <= kMostNumbered ? 'A row is a true class, a column what the network said; numbers are percent of the row.'
                          : 'Rows are true classes, columns what the network said; point at a cell to read it. Colours grow with the root of the share.');
  const place = byId('confusion-matrix');
  if (n <= kMostNumbered) {
    place.append(element('table', {},
      element('thead', {}, element('tr', {}, element('th', {}, 'true \\ predicted'),
        ...data.classes.map((name) => element('th', {scope: 'col'}, element('span', {}, name))))),
      element('tbody', {}, ...data.classes.map((name, truth) => element('tr', {}, element('th', {scope: 'row'}, name),
        ...data.classes.map((_, predicted) => {
          const value = share(truth, predicted);
          const text = value === 0 ? '' : value < 0.01 ? '<1' : String(Math.round(100 * value));
          return element('td', {style: `background:${colour(value)};${value > 0.3 ? 'color:var(--page)' : ''}`,
                                title: sentence(truth, predicted)}, text);
        }))))));
  } else {
    place.append(confusionCanvas(n, share, sentence));
  }
  const pairs = data.counts.filter(([truth, predicted]) => truth !== predicted).sort((a, b) => b[2] - a[2]).slice(0, 10);
  byId('confusion-pairs').append(...pairs.map(([truth, predicted]) => element('li', {}, sentence(truth, predicted))));
}

function confusionCanvas(n, share, sentence) {
  const canvas = element('canvas', {width: n, height: n, role: 'img', 'aria-label': `Confusion matrix of ${n} classes`});
  const context = canvas.getContext('2d'), picture = context.createImageData(n, n);
  for (let truth = 0; truth < n; ++truth) {
    for (let predicted = 0; predicted < n; ++predicted) {
      const value = Math.sqrt(share(truth, predicted)), at = 4 * (truth * n + predicted);
      [255 - 255 * value, 255 - 141 * value, 255 - 77 * value, 255].forEach((v, i) => { picture.data[at + i] = v; });
    }
  }
  context.putImageData(picture, 0, 0);
  canvas.addEventListener('pointermove', (event) => {
    const box = canvas.getBoundingClientRect();
    const cell = (offset, length) => Math.max(0, Math.min(n - 1, Math.floor(offset / length * n)));
    byId('confusion-value').textContent =
        sentence(cell(event.clientY - box.top, box.height), cell(event.clientX - box.left, box.width));
  });
  return canvas;
}

function pictures(data) {
  byId('wrong-title').textContent = data.wrong.length ? `Wrong, the surest of ${data.wrong_in_all} in the ${data.split} part first`
                                                      : `None of the ${data.split} part is named wrong`;
  byId('right-title').textContent = `Right, of ${data.right_in_all} in the ${data.split} part`;
  byId('right').classList.add('right');
  for (const kind of ['wrong', 'right']) {
    byId(kind).append(...data[kind].map((sample) => element('figure', {},
      element('img', {src: sample.src, alt: `${sample.truth}`, class: sample.photograph ? 'photograph' : null}),
      element('figcaption', {}, element('span', {class: 'mark'}, kind === 'wrong' ? '✗ ' : '✓ '),
        `${sample.predicted} (${percent(sample.probability, 0)})`,
        ...(kind === 'wrong' ? [element('br'), `is ${sample.truth}`] : [])))));
  }
}

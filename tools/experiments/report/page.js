// Puts the page together from the data that lies in it; sections that the run has nothing for stay hidden.

function metricsTable(metrics) {
  const text = (value, name) => value === null ? '' : /top1|f1/.test(name) ? number(value, 4)
      : name === 'epoch' ? String(value) : name === 'images_per_second' ? String(Math.round(value)) : number(value, name === 'learning_rate' ? 6 : 4);
  byId('metrics-table').append(element('table', {},
    element('thead', {}, element('tr', {}, ...metrics.columns.map((name) => element('th', {scope: 'col'}, name.replaceAll('_', ' '))))),
    element('tbody', {}, ...metrics.rows.map((row) => element('tr', {},
      ...row.map((value, i) => element('td', {}, text(value, metrics.columns[i]))))))));
}

function reveal(id) { byId(id).hidden = false; }

const report = JSON.parse(byId('data').textContent);
byId('title').textContent = report.title;
byId('headline').textContent = report.headline;
if (report.metrics) {
  reveal('curves');
  learningCurves(byId('curve-charts'), report.metrics);
  metricsTable(report.metrics);
}
if (report.kernels) {
  reveal('kernels');
  byId('kernels-hint').textContent = report.kernels.hint;
  const tuning = report.tuning ? new Tuning(report.tuning) : null;
  const section = new KernelSection({...report.kernels, pixels: bytes(report.kernels.pixels)}, tuning);
  if (tuning) {
    reveal('selectivity');
    selectivity(section, tuning, report.macaque);
  }
}
if (report.confusion) {
  reveal('confusion');
  confusion(report.confusion);
}
if (report.samples) {
  reveal('samples');
  pictures(report.samples);
}
for (const [name, value] of report.facts) byId('facts').append(element('dt', {}, name), element('dd', {}, value));
byId('configuration').textContent = report.configuration;
byId('notes').append(...report.notes.map((note) => element('li', {}, note)));
for (const section of document.querySelectorAll('main section:not([hidden])')) {
  byId('contents').append(element('a', {href: `#${section.id}`}, section.querySelector('h2').textContent));
}
// A print shows what a click would.
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach((d) => { d.open = true; }));

// The kernels' circular variance: its distribution beside macaque V1's, and its way over the epochs.

const kBins = 20;

/** Redrawn for the epoch and the kernel that `section` shows. */
function selectivity(section, tuning, macaque) {
  const histogram = byId('cv-histogram');
  const caption = element('figcaption'), note = element('p', {class: 'readout', id: 'cv-note'});
  const drawing = svg('svg', {role: 'img'});
  histogram.append(element('figure', {class: 'chart'}, caption, drawing, note));
  const redraw = drawnToWidth(histogram, (width) => drawHistogram(width, {section, tuning, macaque, caption, drawing, note}));
  section.listeners.push(redraw);

  if (tuning.epochs.length < 2) return;
  const of = tuning.epochs.map((_, e) => tuning.column(e, 'circular_variance'));
  const quiet = of[0].map((_, k) => ({name: '', quiet: true, colour: 'var(--muted)', width: 0.6, y: of.map((row) => row[k])}));
  lineChart(byId('cv-epochs'), {
    title: 'Circular variance over the epochs', x: tuning.epochs, xTitle: 'epoch', yTitle: 'circular variance (pooled)',
    yRange: [0, 1], series: [...quiet, {name: 'median', colour: 'var(--blue)', width: 3.5, y: of.map(median)}],
    format: (value) => number(value), height: 300,
  });
  byId('cv-epochs').querySelector('.legend').append(element('span', {}, 'thin: each kernel'));
}

function drawHistogram(width, {section, tuning, macaque, caption, drawing, note}) {
  const e = section.measured();
  drawing.replaceChildren();
  if (e < 0) {
    caption.textContent = 'Circular variance: not measured at this epoch';
    note.textContent = '';
    return;
  }
  const height = 300, values = tuning.column(e, 'circular_variance');
  const known = values.filter((value) => value !== null);
  const binOf = (value) => Math.min(kBins - 1, Math.floor(value * kBins));
  const counts = new Array(kBins).fill(0);
  for (const value of known) ++counts[binOf(value)];
  const high = Math.max(1, ...counts);
  drawing.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const scale = frame(drawing, width, height, {low: 0, high: 1, title: 'circular variance (pooled)', ticks: [0, 0.25, 0.5, 0.75, 1]},
                      {low: 0, high: high * 1.18, title: 'kernels', ticks: ticks(0, high, 5).filter(Number.isInteger)});
  const [q1, middle, q3] = macaque.quartiles, {top, bottom} = scale.inner;
  drawing.append(svg('rect', {x: scale.x(q1), width: scale.x(q3) - scale.x(q1), y: top, height: bottom - top,
                              fill: 'var(--orange)', 'fill-opacity': 0.14}));
  counts.forEach((count, bin) => drawing.append(svg('rect', {
    x: scale.x(bin / kBins) + 1, width: scale.x(1 / kBins) - scale.x(0) - 2, y: scale.y(count),
    height: bottom - scale.y(count), fill: 'var(--blue)'})));
  drawing.append(svg('line', {x1: scale.x(middle), x2: scale.x(middle), y1: top, y2: bottom, stroke: 'var(--orange)',
                              'stroke-width': 2, 'stroke-dasharray': '6 4'}),
                 svg('text', {x: scale.x(middle), y: top + 12, 'text-anchor': 'middle'}, 'macaque V1'));
  const chosen = values[section.chosen];
  if (chosen !== null) {
    const x = scale.x((binOf(chosen) + 0.5) / kBins), y = scale.y(counts[binOf(chosen)]) - 4;
    drawing.append(svg('path', {d: `M${x} ${y}l-6 -9h12z`, fill: 'var(--text)'}));
  }
  const silent = values.length - known.length;
  caption.textContent = `Circular variance of ${known.length} kernels, epoch ${tuning.epochs[e]}`;
  drawing.setAttribute('aria-label', `${caption.textContent}, in ${kBins} bins: ${counts.join(', ')}`);
  note.textContent = `Median ${number(median(known))}; macaque V1 ${number(middle)} (quartiles ${number(q1)} to ${number(q3)}, ` +
      `n = 308, Ringach et al. 2002)${silent ? `; ${silent} not responsive, left out` : ''}.`;
}

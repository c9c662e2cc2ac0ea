// The first layer's kernels over the epochs, and what each is tuned to.

/** Draws kernel `k` as it was at the `e`-th of the kept epochs. */
function paintKernel(canvas, kernels, e, k) {
  const {height, width, channels, count, pixels} = kernels;
  canvas.width = width;
  canvas.height = height;
  const picture = new ImageData(width, height);
  const begin = (e * count + k) * height * width * channels;
  for (let i = 0; i < height * width; ++i) {
    for (let c = 0; c < 3; ++c) picture.data[4 * i + c] = pixels[begin + i * channels + (channels === 3 ? c : 0)];
    picture.data[4 * i + 3] = 255;
  }
  canvas.getContext('2d').putImageData(picture, 0, 0);
}

/** What was measured at one epoch: a kernel's columns by name, its responses [orientations][frequencies]. */
class Tuning {
  constructor(data) {
    Object.assign(this, data);
    this.curves = bytes(data.curves);
    this.peaks = floats(data.peaks);
  }
  /** Where that epoch lies, or -1. */
  at(epoch) { return this.epochs.indexOf(epoch); }
  value(e, k, name) { return this.table[e][k][this.columns.indexOf(name)]; }
  column(e, name) {
    const index = this.columns.indexOf(name);
    return this.table[e].map((row) => row[index]);
  }
  response(e, k, o, f) {
    const of = this.frequencies.length, oo = this.orientations.length, kernels = this.table[e].length;
    return this.curves[((e * kernels + k) * oo + o) * of + f] / 255 * this.peaks[e * kernels + k];
  }
  /** Of all responses the largest: its orientation and frequency. */
  best(e, k) {
    let best = {o: 0, f: 0, value: -1};
    for (let o = 0; o < this.orientations.length; ++o) {
      for (let f = 0; f < this.frequencies.length; ++f) {
        const value = this.response(e, k, o, f);
        if (value > best.value) best = {o, f, value};
      }
    }
    return best;
  }
}

const degrees = (value) => value === null ? '–' : `${number(value, 1)}°`;
const kMeasures = [
  ['preferred orientation', 'preferred_orientation_deg', degrees],
  ['preferred frequency', 'preferred_sf_cycles_per_image', (v) => v === null ? '–' : `${number(v, 1)} cycles/image`],
  ['', 'preferred_sf_cycles_per_degree', (v) => v === null ? '–' : `${number(v, 2)} cycles/degree`],
  ['CV, pooled (course)', 'circular_variance', number],
  ['CV at preferred frequency', 'circular_variance_at_preferred_sf', number],
  ['orientation selectivity', 'orientation_selectivity', number],
  ['orientation bandwidth', 'orientation_bandwidth_deg', degrees],
  ['frequency bandwidth', 'sf_bandwidth_octaves', (v) => v === null ? '–' : `${number(v, 2)} octaves`],
  ['F1/F0', 'f1_f0', (v) => number(v, 2)],
  ['peak response', 'peak_response', number],
];

/** A curve through the points of one kernel's tuning, the largest marked. */
function tuningCurve(place, {title, xs, ys, xTitle, log, text}) {
  const drawing = svg('svg', {role: 'img', 'aria-label': `${title}: ${ys.map((y, i) => `${text(xs[i])} ${number(y)}`).join(', ')}`});
  place.append(element('figure', {class: 'chart'}, element('figcaption', {}, title), drawing));
  const draw = (width) => {
    const height = 170, top = Math.max(...ys) || 1;
    drawing.replaceChildren();
    drawing.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const shown = xs.filter((_, i) => i % Math.ceil(xs.length * 46 / (width - 80)) === 0);
    const scale = frame(drawing, width, height, {low: xs[0], high: xs[xs.length - 1], title: xTitle, log, ticks: shown, text},
                        {low: 0, high: top * 1.05, title: 'response'});
    drawing.append(svg('path', {d: linePath(xs, ys, scale), fill: 'none', stroke: 'var(--blue)', 'stroke-width': 2}));
    const best = ys.indexOf(Math.max(...ys));
    ys.forEach((y, i) => drawing.append(svg('circle', {
      cx: scale.x(xs[i]), cy: scale.y(y), r: i === best ? 5 : 3, fill: i === best ? 'var(--orange)' : 'var(--blue)'})));
  };
  drawnToWidth(place, draw);
}

/** Responses over the grating's direction, each orientation drawn both ways. */
function polarPlot(place, orientations, ys) {
  const size = 190, middle = size / 2, radius = 62, top = Math.max(...ys) || 1;
  const drawing = svg('svg', {viewBox: `0 0 ${size} ${size}`, role: 'img',
    'aria-label': `Polar tuning plot: ${ys.map((y, i) => `${orientations[i]}° ${number(y)}`).join(', ')}`});
  for (const share of [0.5, 1]) drawing.append(svg('circle', {cx: middle, cy: middle, r: radius * share, class: 'grid'}));
  const point = (angle, r) => [middle + r * Math.cos(angle * Math.PI / 180), middle - r * Math.sin(angle * Math.PI / 180)];
  for (const angle of [0, 45, 90, 135, 180, 225, 270, 315]) {
    const [x, y] = point(angle, radius), [tx, ty] = point(angle, radius + 17);
    drawing.append(svg('line', {class: 'grid', x1: middle, y1: middle, x2: x, y2: y}),
                   svg('text', {x: tx, y: ty + 4, 'text-anchor': 'middle'}, `${angle}°`));
  }
  const outline = [0, 180].flatMap((turn) => orientations.map((angle, i) => point(angle + turn, radius * ys[i] / top)));
  drawing.append(svg('path', {d: `M${outline.map((p) => p.map((v) => v.toFixed(1)).join(' ')).join('L')}Z`,
                              fill: 'var(--blue)', 'fill-opacity': 0.25, stroke: 'var(--blue)', 'stroke-width': 2}));
  place.append(element('div', {class: 'chart'}, drawing));
}

class KernelSection {
  constructor(kernels, tuning) {
    this.kernels = kernels;
    this.tuning = tuning;
    this.epochs = kernels.epochs;
    this.chosen = 0;
    this.listeners = [];
    this.makeControls();
    this.makeGrid();
    this.show(this.epochs.length - 1);
  }

  /** The measured epoch that is shown, or -1. */
  measured() { return this.tuning ? this.tuning.at(this.epochs[this.e]) : -1; }

  makeControls() {
    const slider = byId('epoch');
    slider.max = this.epochs.length - 1;
    slider.addEventListener('input', () => this.show(Number(slider.value)));
    slider.disabled = this.epochs.length < 2;
    const play = byId('play');
    play.hidden = this.epochs.length < 2;
    play.addEventListener('click', () => this.play());
    const orders = [['number', 'by number']];
    if (this.tuning) {
      orders.push(['circular_variance', 'most selective first'], ['preferred_orientation_deg', 'by preferred orientation'],
                  ['preferred_sf_cycles_per_image', 'by preferred frequency'], ['peak_response', 'strongest first']);
    }
    const order = byId('order');
    order.append(...orders.map(([value, text]) => element('option', {value}, text)));
    order.addEventListener('change', () => this.arrange());
  }

  play() {
    if (this.timer) return this.stop();
    byId('play').textContent = 'Stop';
    if (this.e === this.epochs.length - 1) this.show(0);
    this.timer = setInterval(() => {
      if (this.e + 1 < this.epochs.length) this.show(this.e + 1);
      if (this.e + 1 >= this.epochs.length) this.stop();
    }, 350);
  }
  stop() {
    clearInterval(this.timer);
    this.timer = null;
    byId('play').textContent = 'Play';
  }

  makeGrid() {
    this.buttons = [];
    for (let k = 0; k < this.kernels.count; ++k) {
      this.buttons.push(element('button', {
        type: 'button', class: 'kernel', 'data-kernel': k, 'aria-pressed': 'false', tabindex: -1, 'aria-label': `Kernel ${k}`,
        click: () => this.choose(k), keydown: (event) => this.walk(event, k),
      }, element('canvas'), String(k)));
    }
    byId('kernel-grid').append(...this.buttons);
  }

  /** One tab stop for the grid; the arrows move within it. */
  walk(event, k) {
    const shown = [...byId('kernel-grid').children];
    const top = shown[0].offsetTop;
    const columns = shown.findIndex((button) => button.offsetTop !== top);
    const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns}[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = shown[shown.indexOf(this.buttons[k]) + step];
    if (!next) return;
    this.choose(Number(next.dataset.kernel));
    next.focus();
  }

  arrange() {
    const by = byId('order').value, e = this.measured();
    const numbers = this.buttons.map((_, k) => k);
    if (by !== 'number' && e >= 0) {
      const values = this.tuning.column(e, by), sign = by === 'peak_response' ? -1 : 1;
      numbers.sort((a, b) => (values[a] ?? Infinity) === (values[b] ?? Infinity)
          ? a - b : values[a] === null ? 1 : values[b] === null ? -1 : sign * (values[a] - values[b]));
    }
    byId('kernel-grid').append(...numbers.map((k) => this.buttons[k]));
  }

  show(e) {
    this.e = e;
    byId('epoch').value = e;
    byId('epoch').setAttribute('aria-valuetext', `epoch ${this.epochs[e]}`);
    byId('epoch-value').textContent = this.epochs[e];
    this.buttons.forEach((button, k) => paintKernel(button.firstChild, this.kernels, e, k));
    this.arrange();
    this.choose(this.chosen);
  }

  choose(k) {
    this.buttons[this.chosen].setAttribute('aria-pressed', 'false');
    this.buttons[this.chosen].tabIndex = -1;
    this.chosen = k;
    this.buttons[k].setAttribute('aria-pressed', 'true');
    this.buttons[k].tabIndex = 0;
    this.describe();
    for (const listener of this.listeners) listener();
  }

  describe() {
    const k = this.chosen, detail = byId('kernel-detail'), e = this.measured(), tuning = this.tuning;
    const large = element('canvas', {class: 'large', role: 'img', 'aria-label': `Kernel ${k} at epoch ${this.epochs[this.e]}`});
    paintKernel(large, this.kernels, this.e, k);
    const head = element('div', {class: 'head'}, large);
    detail.replaceChildren(element('h3', {}, `Kernel ${k}, epoch ${this.epochs[this.e]}`), head);
    detail.dataset.kernel = k;
    detail.dataset.epoch = this.epochs[this.e];
    if (!tuning) return;
    if (e < 0) {
      detail.append(element('p', {class: 'note'}, 'Its tuning was not measured at this epoch.'));
      return;
    }
    if (!tuning.value(e, k, 'responsive')) {
      detail.append(element('p', {class: 'note'}, 'Not responsive: no grating drives it above zero, so that it has no circular variance.'));
      return;
    }
    const best = tuning.best(e, k), {orientations, frequencies} = tuning;
    const overOrientation = orientations.map((_, o) => tuning.response(e, k, o, best.f));
    polarPlot(head, orientations, overOrientation);
    const list = element('dl');
    for (const [name, key, format] of kMeasures) {
      list.append(element('dt', {}, name), element('dd', {'data-measure': key}, format(tuning.value(e, k, key))));
    }
    detail.append(list);
    const curves = [element('div'), element('div')];
    detail.append(...curves);
    tuningCurve(curves[0], {title: `Orientation, at ${number(frequencies[best.f], 1)} cycles/image`, xs: orientations,
                            ys: overOrientation, xTitle: 'orientation, degrees', text: (v) => String(Math.round(v * 10) / 10)});
    if (frequencies.length > 1) {
      tuningCurve(curves[1], {title: `Spatial frequency, at ${number(orientations[best.o], 1)}°`, xs: frequencies,
                              ys: frequencies.map((_, f) => tuning.response(e, k, best.o, f)),
                              xTitle: 'cycles/image', log: true, text: (v) => String(Math.round(v))});
    }
  }
}

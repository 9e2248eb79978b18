// Measures every visible text of the page as it is laid out now, in CSS pixels: what it overlaps, what it leaves, what
// lies on it, and how it stands out from what lies below it. Gives {texts, findings}; a finding is "KIND: WORDS".
//
// The viewport has to be as high as the page, since elementsFromPoint sees nothing outside of it. Text that style sheets
// generate (::before, ::after) is not seen.
(() => {
  const SLACK = 1;
  const LEAST_CONTRAST = 4.5;
  const LEAST_SIZE = 9;
  // A thinner stroke below a text is a line that crosses it, not what it stands on.
  const THICK = 3;

  const root = document.documentElement;
  const isPrint = matchMedia('print').matches;
  const findings = [];
  const tell = (kind, words) => findings.push(`${kind}: ${words}`);

  const short = (text) => {
    const line = text.replace(/\s+/g, ' ').trim();
    return `"${line.length > 40 ? `${line.slice(0, 40)}…` : line}"`;
  };
  const place = (box) => `at ${Math.round(box.left)},${Math.round(box.top)} `
    + `${Math.round(box.right - box.left)}x${Math.round(box.bottom - box.top)}`;
  const isSvg = (element) => element instanceof SVGElement;
  const isOuterSvg = (element) => element instanceof SVGSVGElement && !element.ownerSVGElement;
  const scale = (element) => {
    const matrix = element.getScreenCTM?.();
    return matrix ? Math.sqrt(Math.abs(matrix.a * matrix.d - matrix.b * matrix.c)) : 1;
  };

  // ---- colours: red, green, blue from 0 to 255, alpha from 0 to 1

  const pen = Object.assign(document.createElement('canvas'), { width: 1, height: 1 })
    .getContext('2d', { willReadFrequently: true });
  const known = new Map();
  function colour(text) {
    if (!known.has(text)) {
      const plain = text.match(/^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/);
      if (plain) {
        known.set(text, [+plain[1], +plain[2], +plain[3], plain[4] === undefined ? 1 : +plain[4]]);
      } else {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = text;
        pen.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
        known.set(text, [red, green, blue, alpha / 255]);
      }
    }
    return known.get(text);
  }
  const faded = ([red, green, blue, alpha], by) => [red, green, blue, alpha * by];
  function over(top, below) {
    const alpha = top[3] + below[3] * (1 - top[3]);
    if (alpha === 0) return [0, 0, 0, 0];
    const part = (n) => (top[n] * top[3] + below[n] * below[3] * (1 - top[3])) / alpha;
    return [part(0), part(1), part(2), alpha];
  }
  // WCAG 2.2, "relative luminance" and "contrast ratio".
  function luminance(rgb) {
    const [red, green, blue] = rgb.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }
  function contrast(one, other) {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }
  const written = (rgb) => `rgb(${rgb.slice(0, 3).map(Math.round).join(' ')})`;

  // ---- what is painted

  function opacity(element) {
    let product = 1;
    for (let at = element; at; at = at.parentElement) product *= +getComputedStyle(at).opacity;
    return product;
  }

  // What an element paints at a point, or null where that is a picture or a gradient.
  function painted(element, x, y) {
    const style = getComputedStyle(element);
    if (!isSvg(element) || isOuterSvg(element)) {
      if (style.backgroundImage !== 'none') return null;
      return faded(colour(style.backgroundColor), opacity(element));
    }
    if (element instanceof SVGImageElement) return null;
    const matrix = element.getScreenCTM?.();
    if (!(element instanceof SVGGeometryElement) || !matrix) return [0, 0, 0, 0];
    const point = new DOMPoint(x, y).matrixTransform(matrix.inverse());
    const paints = [
      [style.stroke, style.strokeOpacity, parseFloat(style.strokeWidth) * scale(element) >= THICK
        && element.isPointInStroke(point)],
      [style.fill, style.fillOpacity, element.isPointInFill(point)],
    ];
    let result = [0, 0, 0, 0];
    for (const [paint, alpha, isThere] of paints) {
      if (paint === 'none' || !isThere) continue;
      if (paint.startsWith('url(')) return null;
      result = over(result, faded(colour(paint), +alpha));
    }
    return faded(result, opacity(element));
  }

  // The colour of the sheet that all of the page lies on.
  function sheet() {
    const probe = document.createElement('div');
    probe.style.backgroundColor = 'Canvas';
    document.body.append(probe);
    const bottom = colour(getComputedStyle(probe).backgroundColor);
    probe.remove();
    const own = [root, document.body].map((it) => colour(getComputedStyle(it).backgroundColor));
    return over(own[0][3] > 0 ? own[0] : own[1], bottom);
  }

  // What is hit at a point, the topmost first. Rows and groups of rows paint below their cells and are never hit.
  function hits(x, y) {
    const stack = [];
    for (const element of document.elementsFromPoint(x, y)) {
      if (!stack.includes(element)) stack.push(element);
      for (let at = element.closest('td, th')?.parentElement; at && at.tagName !== 'TABLE'; at = at.parentElement) {
        if (!stack.includes(at)) stack.push(at);
      }
    }
    return stack;
  }

  function checkContrast(text, bottom) {
    const { element, style, box } = text;
    const words = `${short(text.words)} ${place(box)}`;
    const y = (box.top + box.bottom) / 2;
    let worst = null;
    for (const x of [box.left + 1, (box.left + box.right) / 2, box.right - 1]) {
      const stack = hits(x, y);
      const own = stack.findIndex((it) => it === element || it.contains(element));
      const covers = stack.slice(0, Math.max(own, 0)).filter((it) => !element.contains(it));
      const cover = covers.find((it) => (painted(it, x, y)?.[3] ?? 1) > 0.1);
      if (cover) return tell('covered', `${words} by <${cover.tagName.toLowerCase()}>`);
      let ground = [0, 0, 0, 0];
      for (const below of stack.slice(Math.max(own, 0))) {
        if (ground[3] >= 0.999) break;
        const paint = painted(below, x, y);
        if (!paint) return tell('contrast', `${words} stands on a picture, which is not measured`);
        ground = over(ground, paint);
      }
      ground = over(ground, bottom);
      let ink = isSvg(element) ? style.fill : style.webkitTextFillColor;
      if (ink === 'none' || ink.startsWith('url(')) return tell('contrast', `${words} has no plain colour`);
      const alpha = (isSvg(element) ? +style.fillOpacity : 1) * opacity(element);
      // A halo: a stroke that is painted before the fill.
      if (isSvg(element) && style.paintOrder.startsWith('stroke') && style.stroke !== 'none'
        && parseFloat(style.strokeWidth) * scale(element) >= 2) {
        ground = over(faded(colour(style.stroke), +style.strokeOpacity * opacity(element)), ground);
      }
      ink = over(faded(colour(ink), alpha), ground);
      const ratio = contrast(ink, ground);
      if (!worst || ratio < worst.ratio) worst = { ratio, ink, ground };
    }
    if (worst && worst.ratio < LEAST_CONTRAST - 0.005) {
      tell('contrast', `${worst.ratio.toFixed(2)} ${words}, ${written(worst.ink)} on ${written(worst.ground)}`);
    }
  }

  // ---- texts

  // How much of a line's height is empty above and below its glyphs.
  function empty(style, words) {
    pen.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const size = pen.measureText(style.textTransform === 'uppercase' ? words.toUpperCase() : words);
    const all = size.fontBoundingBoxAscent + size.fontBoundingBoxDescent;
    return [
      Math.max(0, (size.fontBoundingBoxAscent - size.actualBoundingBoxAscent) / all),
      Math.max(0, (size.fontBoundingBoxDescent - size.actualBoundingBoxDescent) / all),
    ];
  }

  // Whether it is for screen readers alone: within a box of a pixel that shows nothing beyond itself.
  function isUnseen(element) {
    for (let at = element; at; at = at.parentElement) {
      const box = at.getBoundingClientRect();
      if (/hidden|clip/.test(getComputedStyle(at).overflowX) && box.width <= 2 && box.height <= 2) return true;
    }
    return false;
  }

  // Each line of each text, with the box of its glyphs.
  function lines() {
    const found = [];
    const range = document.createRange();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const seen = { opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true };
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      if (!node.data.trim() || element.closest('script, style, noscript, template')) continue;
      if (!element.checkVisibility(seen) || isUnseen(element)) continue;
      range.selectNodeContents(node);
      const boxes = [...range.getClientRects()].filter((box) => box.width > 0.5 && box.height > 0.5);
      const style = getComputedStyle(element);
      const isTurned = isSvg(element) && Math.abs(element.getScreenCTM()?.b ?? 0) > 0.01;
      const [above, below] = isTurned ? [0, 0] : empty(style, node.data);
      for (const { left, right, top, bottom, height } of boxes) {
        const box = { left, right, top: top + above * height, bottom: bottom - below * height };
        found.push({ node, element, style, box, words: node.data, lines: boxes.length });
      }
      checkShape(element, style, node.data, boxes);
    }
    return found;
  }

  function checkShape(element, style, words, boxes) {
    if (boxes.length === 0) return;
    const size = parseFloat(style.fontSize) * scale(element);
    if (size < LEAST_SIZE) tell('small', `${size.toFixed(1)} px ${short(words)} ${place(boxes[0])}`);
    const rows = new Set(boxes.map((box) => Math.round(box.top))).size;
    const letters = words.trim().replace(/\s+/g, ' ').length;
    if (!isSvg(element) && rows > 2 && letters / rows < 4) {
      tell('column', `${short(words)} takes ${rows} lines ${place(boxes[0])}`);
    }
  }

  function checkOverlaps(texts) {
    const sorted = [...texts].sort((one, other) => one.box.top - other.box.top);
    sorted.forEach((one, at) => {
      for (const other of sorted.slice(at + 1)) {
        if (other.box.top > one.box.bottom) break;
        // A text that is cut short has its line twice, whole and cut.
        if (one.node === other.node && Math.abs(one.box.top - other.box.top) < SLACK) continue;
        const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
        const down = Math.min(one.box.bottom, other.box.bottom) - other.box.top;
        if (across > SLACK && down > SLACK) {
          const both = `${short(one.words)} ${place(one.box)}, ${short(other.words)} ${place(other.box)}`;
          tell('overlap', both);
        }
      }
    });
  }

  // ---- boxes

  const isScroller = (element) => /auto|scroll/.test(getComputedStyle(element).overflowX)
    && element.scrollWidth > element.clientWidth + SLACK;

  // The first box that a text leaves, from the inside out.
  function checkBoxes({ element, box, words }) {
    const text = `${short(words)} ${place(box)}`;
    let isOwn = true;
    for (let at = element; at && at !== root; at = at.parentElement) {
      const style = getComputedStyle(at);
      const isBox = isOuterSvg(at) || (!isSvg(at) && !/^(inline|contents)$/.test(style.display));
      if (!isBox) continue;
      // What is to be scrolled can be read, but for on paper.
      if (isScroller(at)) return isPrint ? tell('cut', `${text} by <${at.tagName.toLowerCase()}>`) : undefined;
      const edge = at.getBoundingClientRect();
      const isBeside = box.left < edge.left - SLACK || box.right > edge.right + SLACK;
      const isBeyond = box.top < edge.top - SLACK || box.bottom > edge.bottom + SLACK;
      const cuts = (overflow) => /hidden|clip/.test(overflow);
      if (isBeside && (isOwn || cuts(style.overflowX)) || isBeyond && (isOwn || cuts(style.overflowY))) {
        return tell('box', `${text} leaves <${at.tagName.toLowerCase()}> ${place(edge)}`);
      }
      isOwn = false;
    }
    if (box.left < -SLACK || box.right > root.clientWidth + SLACK || box.top < -SLACK) {
      tell('box', `${text} leaves the page of ${root.clientWidth}`);
    }
  }

  function checkTables() {
    for (const table of document.querySelectorAll('table')) {
      if (!table.checkVisibility()) continue;
      const words = `${short(table.textContent)} ${place(table.getBoundingClientRect())}`;
      for (let at = table; at && at !== root; at = at.parentElement) {
        if (isScroller(at)) tell('table', `${words} scrolls in <${at.tagName.toLowerCase()}> of ${at.clientWidth}`);
      }
      if (table.getBoundingClientRect().right > root.clientWidth + SLACK) tell('table', `${words} leaves the page`);
    }
    if (root.scrollWidth > root.clientWidth + SLACK) {
      tell('page', `it is ${root.scrollWidth} wide where ${root.clientWidth} are shown`);
    }
    for (const link of document.querySelectorAll('link[rel~="preconnect"], link[rel~="dns-prefetch"]')) {
      tell('request', `<link rel="${link.rel}"> names ${link.href}`);
    }
  }

  // What the page has taken out of reach of the pointer is painted all the same.
  const reach = new CSSStyleSheet();
  reach.replaceSync('*, *::before, *::after { pointer-events: auto !important }');
  document.adoptedStyleSheets.push(reach);
  const texts = lines();
  const bottom = sheet();
  checkOverlaps(texts);
  checkTables();
  for (const text of texts) {
    checkBoxes(text);
    checkContrast(text, bottom);
  }
  document.adoptedStyleSheets = document.adoptedStyleSheets.filter((it) => it !== reach);
  return { texts: texts.length, findings };
})()

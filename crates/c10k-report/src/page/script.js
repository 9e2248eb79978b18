"use strict";
// Values under the pointer, copying a line, saving a plot. Without it the page stands as it is.
(() => {
  const all = (what, from = document) => [...from.querySelectorAll(what)];

  const save = (name, text, kind) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: kind }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };

  // A saved picture has no style sheet: each element takes what it was shown with.
  const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "font-size",
    "font-family", "text-anchor", "visibility"];
  const picture = (svg) => {
    const twin = svg.cloneNode(true);
    const twins = [twin, ...all("*", twin)];
    [svg, ...all("*", svg)].forEach((node, n) => {
      const shown = getComputedStyle(node);
      KEPT.forEach((name) => twins[n].setAttribute(name, shown.getPropertyValue(name)));
    });
    const { width, height } = svg.viewBox.baseVal;
    const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    paper.setAttribute("width", width);
    paper.setAttribute("height", height);
    paper.setAttribute("fill", getComputedStyle(document.body).backgroundColor);
    twin.prepend(paper);
    twin.setAttribute("width", width * 2);
    twin.setAttribute("height", height * 2);
    return new XMLSerializer().serializeToString(twin);
  };

  const short = (value) =>
    value.toLocaleString("en-US", { maximumFractionDigits: Math.abs(value) >= 100 ? 0 : 2 });
  const scaled = (value, units) => {
    const [size, name] = units.find(([size]) => Math.abs(value) >= size) ?? units.at(-1);
    return `${short(value / size)} ${name}`;
  };
  const worded = {
    "": short,
    bytes: (value) =>
      (Math.abs(value) < 10240 ? `${short(value)} B` : scaled(value, [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [1024, "KiB"]])),
    seconds: (value) => `${short(value)} s`,
    micros: (value) => scaled(value, [[1e6, "s"], [1e3, "ms"], [1, "µs"]]),
  };

  const rows = (figure) => {
    const link = figure.querySelector("a[download]");
    const text = decodeURIComponent(link.href.slice(link.href.indexOf(",") + 1));
    // The first line has the names; no name is needed, and below it there are numbers alone.
    return text.trim().split("\n").filter((line) => /^-?[0-9.]+(,|$)/.test(line)).map((line) => line.split(","));
  };

  const follow = (figure) => {
    const [left, right, from, to, isLog] = figure.dataset.plot.split(" ").map(Number);
    const svg = figure.querySelector("svg");
    const here = svg.querySelector(".here");
    const cells = all("[data-value]", figure);
    const before = cells.map((cell) => cell.textContent);
    let table = null;
    svg.addEventListener("pointermove", (event) => {
      table ??= rows(figure);
      const box = svg.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      const share = Math.min(1, Math.max(0, (at - left) / (right - left)));
      const place = isLog ? from * (to / from) ** share : from + (to - from) * share;
      const away = (row) => (isLog ? Math.abs(Math.log(row[0] / place)) : Math.abs(row[0] - place));
      cells.forEach((cell) => {
        const column = Number(cell.dataset.column) + 1;
        let best = null;
        for (const row of table) {
          if (row[column] && (best === null || away(row) < away(best))) best = row;
        }
        if (best) cell.textContent = worded[cell.dataset.value](Number(best[column]));
      });
      const x = left + share * (right - left);
      here.setAttribute("x1", x);
      here.setAttribute("x2", x);
      here.setAttribute("visibility", "visible");
    });
    svg.addEventListener("pointerleave", () => {
      here.setAttribute("visibility", "hidden");
      cells.forEach((cell, n) => { cell.textContent = before[n]; });
    });
  };

  all("figure[data-plot]").forEach(follow);
  all("button").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      if (button.dataset.does === "svg") {
        const figure = button.closest("figure");
        save(`${figure.dataset.name}.svg`, picture(figure.querySelector("svg")), "image/svg+xml");
        return;
      }
      await copy(button.parentElement.querySelector("code").textContent);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  });
})();

"use strict";
// The page without this script is complete but for hovering, the switch of colours and the browser
// of samples. It makes elements and sets their text; no text from data is ever read as markup.
(() => {
  const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/-_";
  const AT_ONCE = 20;

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // ---- light and dark ------------------------------------------------------------------------

  const remembered = (value) => {
    try {  // some browsers keep nothing for files
      if (value) localStorage.setItem("wheresight-colours", value);
      return localStorage.getItem("wheresight-colours");
    } catch { return null; }
  };

  const theme = () => {
    const button = document.getElementById("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const chosen = remembered();
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
    const dark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
    const say = () => { button.textContent = dark() ? "Light colours" : "Dark colours"; };
    button.addEventListener("click", () => {
      const next = dark() ? "light" : "dark";
      document.documentElement.dataset.theme = next;
      remembered(next);
      say();
    });
    system.addEventListener("change", say);
    button.hidden = false;
    say();
  };

  // ---- numbers of a place or a point, by pointing or by arrow keys ------------------------------

  // Of a table of places the next square in that direction, of a drawing the next point in order.
  const beside = (map, shown, [down, right]) => {
    const rows = [...map.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
    if (!rows.length) {
      const points = [...map.querySelectorAll("[data-tip]")];
      const at = points.indexOf(shown);
      return points[at < 0 ? 0 : at + down + right];
    }
    const row = rows.findIndex((cells) => cells.includes(shown));
    return row < 0 ? rows[0][0] : rows[row + down]?.[rows[row].indexOf(shown) + right];
  };

  const tips = () => {
    const tip = document.getElementById("tip");
    let shown = null;
    const hide = () => {
      shown?.classList.remove("pointed");
      shown = null;
      tip.hidden = true;
    };
    const show = (cell) => {
      hide();
      if (!cell?.dataset.tip) return;
      shown = cell;
      cell.classList.add("pointed");
      tip.replaceChildren(...cell.dataset.tip.split("\n\n").flatMap((block) => {
        const [first, ...lines] = block.split("\n");
        return [make("b", {}, first), ...lines.map((line) => make("span", {}, line))];
      }));
      tip.hidden = false;
      lay(cell.getBoundingClientRect());
    };
    const lay = (box) => {
      const [width, height] = [tip.offsetWidth, tip.offsetHeight];
      const left = Math.min(Math.max(8, box.left + box.width / 2 - width / 2), innerWidth - width - 8);
      const above = box.top - height - 8;
      tip.style.left = `${Math.max(8, left)}px`;
      tip.style.top = `${above >= 8 ? above : Math.min(box.bottom + 8, innerHeight - height - 8)}px`;
    };
    const cellOf = (event) => event.target.closest?.("[data-tip]");
    document.addEventListener("pointerover", (event) => {
      const cell = cellOf(event);
      if (cell) show(cell);
      else if (shown && !shown.closest("[data-map]")?.matches(":focus")) hide();
    });
    document.addEventListener("scroll", () => {
      const box = shown?.getBoundingClientRect();
      const seen = box && box.bottom >= 0 && box.top <= innerHeight;
      // What the keyboard came to stays told, since coming to it may scroll the page.
      if (seen && shown.closest("[data-map]")?.matches(":focus-visible")) lay(box);
      else hide();
    }, { passive: true });
    document.addEventListener("focusout", (event) => { if (event.target.matches?.("[data-map]")) hide(); });
    document.addEventListener("focusin", (event) => {
      if (event.target.matches?.("[data-map]:focus-visible")) show(event.target.querySelector("[data-tip]"));
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return hide();
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      const map = event.target.closest?.("[data-map]");
      if (!step || !map || event.altKey || event.ctrlKey || event.metaKey) return;
      const next = beside(map, shown, step);
      if (!next) return;
      event.preventDefault();
      next.scrollIntoView({ block: "nearest", inline: "nearest" });
      requestAnimationFrame(() => show(next));  // after the scrolling, which hides
    });
  };

  // ---- the browser of samples ------------------------------------------------------------------

  const state = new Map();  // by the browser's place in the page; outlives a live page's renewal

  const tests = {
    all: () => true,
    flips: (sample, s) => sample.e && sample.a[s].includes("y") && /[nx]/.test(sample.a[s]),
    worst: (sample, s, data) => sample.e && data.worst[s] !== null
      && /[nx]/.test(sample.a[s][data.worst[s]] ?? "") && sample.a[s].includes("y"),
    alarms: (sample, s) => !sample.e && sample.a[s].includes("y"),
    wrong: (sample, s) => (sample.e ? /[nx]/ : /[yx]/).test(sample.a[s]),
    changed: (sample, s) => s > 0 && sample.a[s] !== sample.a[0],
  };

  const right = (sample, letter) => letter === (sample.e ? "y" : "n");

  const strip = (data, sample, s, letter) => {
    const answers = [...sample.a[s]];
    const asked = answers.filter((one) => one !== ".").length;
    const good = answers.filter((one) => right(sample, one)).length;
    const grid = make("span", { class: "strip" }, ...answers.map((one) =>
      make("i", one === "." ? { class: "unasked" } : right(sample, one) ? {} : { class: "off" })));
    grid.style.gridTemplateColumns = `repeat(${data.columns}, 1fr)`;
    return make("span", { class: "outcome", role: "img", "aria-label": `${data.specs[s]}: right at ${good} of ${asked} places` },
      make("b", { "aria-hidden": "true" }, letter), grid);
  };

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // What is little attended to is darkened; the most attended place keeps its full light.
  const overlay = (map, text) => {
    const canvas = make("canvas", { width: map.width, height: map.height, class: "overlay", "aria-hidden": "true" });
    const context = canvas.getContext("2d");
    const image = context.createImageData(map.width, map.height);
    bytes(text).forEach((value, n) => { image.data[4 * n + 3] = Math.round(0.88 * (255 - value)); });
    context.putImageData(image, 0, 0);
    return canvas;
  };

  const composite = (data, sample, cell, map) => {
    const place = data.places[cell];
    const plan = sample.p === undefined ? null : data.plans[sample.p][cell];
    if (!plan) {
      return make("div", { class: "thumb no-picture", role: "img", "aria-label": `No picture; the item's own picture is at ${place}` });
    }
    const [background, aspect, boxes] = data.geometries[plan[0]];
    const thumb = make("div", { class: "thumb", role: "img", "aria-label": `Composite; the item's own picture is at ${place}` });
    thumb.style.cssText = `background:${background};aspect-ratio:${aspect}`;
    const laid = (element, [left, top, width, height]) => {
      element.style.cssText = `left:${left}%;top:${top}%;width:${width}%;height:${height}%`;
      return element;
    };
    boxes.forEach((box, n) => {
      const tile = data.tiles[sample.t[DIGITS.indexOf(plan[1][n])]];
      thumb.append(laid(make("img", { src: tile, alt: "", class: "tile" }), box));
    });
    const text = map?.of[`${sample.i} ${sample.q}`]?.[cell];
    if (text) thumb.append(overlay(map, text));
    thumb.append(laid(make("span", { class: "key" }), boxes[cell]));
    return thumb;
  };

  const signed = (margin) => (margin > 0 ? "+" : margin < 0 ? "−" : "") + Math.abs(margin).toFixed(2);

  const readings = (data, sample, cell, letters) => make("ul", { class: "readings" }, ...data.specs.flatMap((_, s) => {
    const letter = sample.a[s][cell];
    if (letter === ".") return [];
    const good = right(sample, letter);
    const said = letter === "y" ? "Yes" : letter === "n" ? "No" : sample.o?.[`${s}.${cell}`] ?? "neither";
    return [make("li", { class: good ? "right" : "wrong" }, make("b", {}, letters[s]), " ",
      make("span", { class: `mark ${good ? "right" : "wrong"}`, role: "img", "aria-label": good ? "right" : "wrong" }, good ? "✓" : "✗"),
      " ", make("bdi", {}, said), " ", make("span", { class: "margin" }, sample.m[s][cell] === null ? "" : signed(sample.m[s][cell])))];
  }));

  const detail = (data, sample, map, letters) => {
    const rule = sample.e ? "The picture is there: Yes is right." : "The caption's picture is not there: No is right.";
    const list = make("ol", { class: "composites" }, ...data.places.map((_, cell) =>
      make("li", {}, composite(data, sample, cell, map), readings(data, sample, cell, letters))));
    list.style.gridTemplateColumns = `repeat(${data.columns}, minmax(5.6rem, 10.5rem))`;
    const over = !map ? "" : map.of[`${sample.i} ${sample.q}`]
      ? ` ${map.label}: the lighter, the more; the darkest places get least.`
      : ` ${map.label} is not in this page for this sample.`;
    return [make("p", { class: "note" }, `${rule} Item `, make("bdi", {}, sample.i), `.${over}`),
      make("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": `Composites of ${sample.i}, ${data.kinds[sample.q]}` }, list)];
  };

  const browse = (root, number) => {
    const data = JSON.parse(root.querySelector("script").textContent);
    const form = root.querySelector("form");
    const list = root.querySelector("ol");
    const more = root.querySelector(".more");
    const letters = list.dataset.letters.split(",");
    const kept = state.get(number) ?? { values: {}, count: AT_ONCE, open: new Set() };
    state.set(number, kept);
    const value = (name) => form.elements[name]?.value ?? "";
    const name = (sample) => `${sample.i} ${sample.q}`;

    const row = (sample) => {
      const body = make("div", { class: "detail" });
      const details = make("details", {}, make("summary", {},
        make("span", { class: "caption" }, "“", make("bdi", {}, sample.c), "”"), " ",
        make("span", { class: "note" }, data.kinds[sample.q]), " ",
        ...data.specs.map((_, s) => strip(data, sample, s, letters[s]))), body);
      details.addEventListener("toggle", () => {
        if (details.open) {
          kept.open.add(name(sample));
          body.replaceChildren(...detail(data, sample, data.maps[value("map")], letters));
        } else {
          kept.open.delete(name(sample));
          body.replaceChildren();
        }
      });
      details.open = kept.open.has(name(sample));
      return make("li", {}, details);
    };

    const draw = () => {
      const [show, spec, kind, text] = ["show", "spec", "kind", "text"].map(value);
      const test = tests[show] ?? tests.all;
      const under = spec === "" ? [...data.specs.keys()] : [Number(spec)];
      const wanted = text.trim().toLowerCase();
      const found = data.samples.filter((sample) => (kind === "" || sample.q === Number(kind))
        && (!wanted || sample.c.toLowerCase().includes(wanted) || sample.i.toLowerCase().includes(wanted))
        && (show === "all" || under.some((s) => test(sample, s, data))));
      list.replaceChildren(...found.slice(0, kept.count).map(row));
      root.querySelector(".count").textContent =
        `${found.length.toLocaleString("en")} of ${data.samples.length.toLocaleString("en")} samples`;
      more.hidden = found.length <= kept.count;
      more.textContent = `Show ${Math.min(AT_ONCE, found.length - kept.count)} more`;
      kept.values = Object.fromEntries(new FormData(form));
    };

    for (const [field, held] of Object.entries(kept.values)) {
      if (form.elements[field]) form.elements[field].value = held;
    }
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => { kept.count = AT_ONCE; draw(); });
    more.addEventListener("click", () => {
      const first = kept.count;
      kept.count += AT_ONCE;
      draw();
      list.children[first]?.querySelector("summary").focus();
    });
    form.hidden = false;
    root.querySelector(".key-list").hidden = false;
    draw();
  };

  const mount = () => document.querySelectorAll("[data-samples]").forEach(browse);

  theme();
  tips();
  mount();
  window.wheresight = { mount };
})();

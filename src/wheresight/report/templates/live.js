"use strict";
// A page that is served while its study runs: asks now and then whether there is a newer one, and
// takes over its content without losing the place, the filters, or what is folded open.
(() => {
  const EVERY = 1500;  // milliseconds
  const said = document.getElementById("live");
  let version = said.dataset.version;

  const nameOf = (details) => {
    const summary = details.querySelector("summary").textContent;
    return `${details.closest("section")?.id} ${summary}`;
  };

  const renew = (text) => {
    const next = new DOMParser().parseFromString(text, "text/html");
    const folds = () => [...document.querySelectorAll("main details")].filter((one) => !one.closest("[data-samples]"));
    const open = new Map(folds().map((one) => [nameOf(one), one.open]));
    const active = document.activeElement;
    const browsers = () => [...document.querySelectorAll("[data-samples]")];
    const browser = browsers().indexOf(active?.closest?.("[data-samples]"));
    const control = active?.name;
    // What is read now keeps its place on the screen, though there may be more above it.
    const topOf = (one) => one.getBoundingClientRect().top;
    const read = [...document.querySelectorAll("main section[id], main dt[id]")].findLast((one) => topOf(one) <= 60);
    const [anchor, top] = read ? [read.id, topOf(read)] : ["", 0];
    for (const part of ["h1", ".lead", "#contents", "#content"]) {
      document.querySelector(part).replaceWith(document.adoptNode(next.querySelector(part)));
    }
    document.title = next.title;
    for (const one of folds()) one.open = open.get(nameOf(one)) ?? one.open;
    wheresight.mount();
    const same = document.getElementById(anchor);
    scrollTo({ top: same ? scrollY + topOf(same) - top : scrollY, behavior: "instant" });
    if (browser >= 0 && control) browsers()[browser]?.querySelector(`[name="${control}"]`)?.focus({ preventScroll: true });
    else if (active?.id) document.getElementById(active.id)?.focus({ preventScroll: true });
  };

  const look = async () => {
    try {
      const state = await (await fetch("/state", { cache: "no-store" })).json();
      if (state.version !== version) {
        const page = await (await fetch("/", { cache: "no-store" })).text();
        renew(page);
        version = state.version;
      }
      if (said.textContent !== state.said) said.textContent = state.said;
    } catch {
      said.textContent = "wheresight serve does not answer any more; this is the last page that it had.";
    }
    setTimeout(look, EVERY);
  };
  look();
})();

// Corrections of the theme: for pages that are opened as files, for the keyboard, for screen readers.
"use strict";

// A file may not fetch other files, so that the search cannot show parts of what it found.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

const NAMES = { __navigation: "All pages", __toc: "On this page" };
const DRAWERS = { __navigation: ".sidebar-drawer", __toc: ".toc-drawer" };
const FIRST = { __navigation: ".sidebar-search", __toc: "li li a" };

function openedBy(box) {
  return document.querySelector(DRAWERS[box.id]);
}

function toButton(label) {
  const box = document.getElementById(label.htmlFor);
  const button = document.createElement("button");
  button.type = "button";
  button.className = label.className;
  button.append(...label.childNodes);
  button.setAttribute("aria-label", NAMES[box.id]);
  const show = () => button.setAttribute("aria-expanded", box.checked);
  show();
  box.addEventListener("change", show);
  button.addEventListener("click", () => {
    box.checked = !box.checked;
    box.dispatchEvent(new Event("change"));
    if (box.checked) openedBy(box).querySelector(FIRST[box.id]).focus();
  });
  label.replaceWith(button);
}

function closeDrawers() {
  for (const box of document.querySelectorAll(".sidebar-toggle:checked")) {
    const held = openedBy(box).contains(document.activeElement);
    box.checked = false;
    box.dispatchEvent(new Event("change"));
    const buttons = document.querySelectorAll(`[aria-label="${NAMES[box.id]}"]`);
    if (held) [...buttons].find((one) => one.matches("button") && one.offsetParent)?.focus();
  }
}

// Code and tables that are wider than the page scroll by the arrow keys, once they have the focus.
function reachable(node) {
  const wide = node.scrollWidth > node.clientWidth;
  if (wide) node.tabIndex = 0;
  else node.removeAttribute("tabindex");
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("label[class*='overlay-icon']").forEach(toButton);
  for (const [id, name] of Object.entries(NAMES))
    document.querySelector(DRAWERS[id]).setAttribute("aria-label", name);
  for (const caption of document.querySelectorAll(".caption[role=heading]"))
    caption.setAttribute("aria-level", 2);
  const results = document.getElementById("search-results");
  if (results) results.before(Object.assign(document.createElement("h1"), { textContent: "Search" }));
  const sizes = new ResizeObserver((entries) => entries.forEach((one) => reachable(one.target)));
  document.querySelectorAll("pre, .table-wrapper").forEach((node) => sizes.observe(node));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeDrawers();
  });
});

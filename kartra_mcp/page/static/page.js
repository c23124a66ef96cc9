// What the page does by itself: calls arrive and leave without a reload, the title and a
// notification tell of them. Everything else works without this file.
"use strict";

(() => {
  const cards = document.getElementById("cards");
  const arrivals = document.getElementById("arrivals");
  const badge = document.getElementById("count");
  const notify = document.getElementById("notify");
  const MINUTE = 60, HOUR = 3600, DAY = 86400;
  // Milliseconds: a stream that the page process ended by itself comes back after five seconds.
  const PATIENCE = 12000;
  const SAID_FOR = 10000;
  let saying = 0;
  let newest = null;
  let fetching = false;
  let again = false;

  const shown = () => [...cards.querySelectorAll("article[data-number]")];
  const numberOf = (card) => Number(card.dataset.number);

  function told(text) {
    arrivals.textContent = text;
    clearTimeout(saying);
    saying = setTimeout(() => arrivals.replaceChildren(), SAID_FOR);
  }

  function counted(count) {
    const plain = document.title.replace(/^\(\d+\) /, "");
    document.title = count ? `(${count}) ${plain}` : plain;
    badge.textContent = String(count);
    badge.hidden = !count;
  }

  // Notifications name the number only: a locked screen may show them.
  function notified(numbers) {
    const last = numbers.length ? Math.max(...numbers) : 0;
    const isNew = newest !== null && last > newest;
    newest = Math.max(newest ?? 0, last);
    if (!isNew || !("Notification" in window) || Notification.permission !== "granted") return;
    const text = `Number ${last} waits for you to approve or decline it.`;
    const note = new Notification("A call waits for you", { body: text, tag: `kartra-mcp-${last}` });
    note.onclick = () => {
      window.focus();
      location.assign(`/#approval-${last}`);
    };
  }

  function offer() {
    if (!notify || !("Notification" in window)) return;
    const state = Notification.permission;
    notify.hidden = state !== "default";
    notify.onclick = async () => {
      await Notification.requestPermission();
      notify.hidden = Notification.permission !== "default";
      if (Notification.permission === "granted") told("You will be notified.");
      document.getElementById("main").focus();
    };
  }

  // Cards that stay are left alone, with whatever is being typed into them.
  function placed(fresh) {
    const before = new Map(shown().map((card) => [numberOf(card), card]));
    const after = [...fresh.querySelectorAll("article[data-number]")];
    const wanted = new Set(after.map(numberOf));
    const gone = [...before.keys()].filter((number) => !wanted.has(number));
    const added = after.filter((card) => !before.has(numberOf(card)));
    const hadFocus = gone.some((number) => before.get(number).contains(document.activeElement));
    gone.forEach((number) => before.get(number).remove());
    const empty = cards.querySelector(".empty");
    if (empty) empty.remove();
    if (!after.length) cards.append(...fresh.childNodes);
    after.forEach((card, place) => {
      if (before.has(numberOf(card))) return;
      card.classList.add("arrived");
      cards.insertBefore(card, shown()[place] ?? null);
    });
    if (hadFocus) document.getElementById("main").focus();
    spoken(added, gone);
  }

  function spoken(added, gone) {
    const words = [];
    if (added.length === 1) words.push(`${added[0].querySelector("h2").textContent} waits for you.`);
    if (added.length > 1) words.push(`${added.length} more calls wait for you.`);
    if (gone.length === 1) words.push(`Number ${gone[0]} waits no longer.`);
    if (gone.length > 1) words.push(`${gone.length} calls wait no longer.`);
    if (words.length) told(words.join(" "));
  }

  async function refreshed() {
    if (fetching) {
      again = true;
      return;
    }
    fetching = true;
    try {
      const answer = await fetch("/cards", { cache: "no-store" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
      placed(document.adoptNode(fresh));
    } finally {
      fetching = false;
      if (again) {
        again = false;
        refreshed();
      }
    }
  }

  function heard(event) {
    const { count, numbers } = JSON.parse(event.data);
    online(true);
    counted(count);
    notified(numbers);
    if (!cards) return;
    const here = shown().map(numberOf);
    const same = here.length === numbers.length && here.every((n) => numbers.includes(n));
    if (!same) refreshed().catch(() => online(false));
  }

  function online(yes) {
    const said = document.getElementById("offline");
    if (yes && said) said.remove();
    if (yes || said) return;
    const made = document.createElement("p");
    made.id = "offline";
    made.setAttribute("role", "alert");
    made.textContent =
      "This page no longer hears of new calls: what served it has ended, or your way in has. " +
      "For a fresh address, run kartra-mcp page in a terminal.";
    document.getElementById("main").prepend(made);
  }

  function listening() {
    let lost = 0;
    const source = new EventSource("/events");
    source.addEventListener("waiting", heard);
    source.onopen = () => {
      clearTimeout(lost);
      lost = 0;
      online(true);
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) online(false);
      else if (!lost) lost = setTimeout(() => online(false), PATIENCE);
    };
    addEventListener("pagehide", () => source.close());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
  }

  function lasting(seconds) {
    const left = Math.max(Math.floor(seconds), 0);
    if (left < MINUTE) return "less than a minute";
    if (left < HOUR) return `${Math.floor(left / MINUTE)} min`;
    if (left < 2 * DAY) return `${Math.floor(left / HOUR)} h ${Math.floor((left % HOUR) / MINUTE)} min`;
    return `${Math.floor(left / DAY)} days`;
  }

  function aged() {
    for (const until of document.querySelectorAll("[data-ends]")) {
      const text = lasting(Number(until.dataset.ends) - Date.now() / 1000);
      if (until.textContent !== text) until.textContent = text;
    }
  }

  // A second click on a form that was sent already sends nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });

  offer();
  listening();
  setInterval(aged, 30 * 1000);
})();

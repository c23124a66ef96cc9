// What the page does by itself: calls arrive and leave without a reload, the title and a
// notification tell of them. Everything else works without this file.
"use strict";

(() => {
  const cards = document.getElementById("cards");
  const arrivals = document.getElementById("arrivals");
  const badge = document.getElementById("count");
  const notify = document.getElementById("notify");
  const notified = document.getElementById("notified");
  const MINUTE = 60, HOUR = 3600, DAY = 86400;
  // Milliseconds: a stream that the page process ended by itself comes back after five seconds.
  const PATIENCE = 12000;
  const SAID_FOR = 10000;
  let saying = 0;
  // What waited when this page was made: a call that came since is news.
  let newest = Number(badge.dataset.newest);
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
  function alerted(last) {
    const isNew = last > newest;
    newest = last;
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
    saidOfNotifying();
    notify.onclick = async () => {
      await Notification.requestPermission();
      saidOfNotifying();
      if (notify.hidden) document.getElementById("main").focus();
    };
  }

  function saidOfNotifying() {
    const said = {
      granted: "You will be notified, as long as this tab stays open.",
      denied:
        "Your browser blocks notifications of this page: allow them in its settings for this " +
        "address. The tab's title tells how many calls wait.",
      default: "",
    }[Notification.permission];
    notify.hidden = Notification.permission !== "default";
    notified.hidden = !said;
    if (notified.textContent !== said) notified.textContent = said;
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

  // What stands besides the cards is put anew only when it changed: a PIN may be typed into it.
  function stood(fresh) {
    const before = document.getElementById("standing");
    fresh.remove();
    if (fresh.dataset.key === before.dataset.key) return;
    const hadFocus = before.contains(document.activeElement);
    before.replaceWith(fresh);
    if (hadFocus) document.getElementById("main").focus();
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
      online(true);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
      document.adoptNode(fresh);
      stood(fresh.querySelector("#standing"));
      placed(fresh);
    } finally {
      fetching = false;
      if (again) {
        again = false;
        update();
      }
    }
  }

  function heard(event) {
    const { count, numbers, newest: last } = JSON.parse(event.data);
    online(true);
    counted(count);
    alerted(last ?? 0);
    if (!cards) return;
    const here = shown().map(numberOf);
    const same = here.length === numbers.length && here.every((n) => numbers.includes(n));
    if (!same || standing()) update();
  }

  const standing = () => document.getElementById("standing")?.children.length > 0;
  const update = () => refreshed().catch(() => online(false));

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

  // Neither decision is made by Enter in a field; a decline asks for its reason here and at once.
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (event.key !== "Enter" || !field.matches(".decide input")) return;
    event.preventDefault();
    told("Nothing was decided: choose Decline or Approve.");
  });

  function lacksReason(form, button) {
    const reason = form.elements.reason;
    if (button?.value !== "decline" || reason.value.trim()) return false;
    const said = form.querySelector(".lacking") ?? document.createElement("p");
    said.className = "lacking wrong";
    said.id = `${reason.id}-wrong`;
    said.setAttribute("role", "alert");
    said.textContent = "A decline needs a reason: it stands in the ledger.";
    reason.after(said);
    reason.setAttribute("aria-invalid", "true");
    reason.setAttribute("aria-describedby", said.id);
    reason.focus();
    return true;
  }

  document.addEventListener("input", (event) => {
    const field = event.target;
    if (field.name !== "reason" || !field.value.trim()) return;
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
    field.form.querySelector(".lacking")?.remove();
  });

  // A second click on a form that was sent already sends nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent || (form.matches(".decide") && lacksReason(form, event.submitter))) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
  });

  // A PIN may have been chosen, an approval used: whoever comes back to the tab sees it.
  function watched() {
    if (cards && standing() && !document.hidden) update();
  }

  document.addEventListener("visibilitychange", watched);
  // After the address's #approval-N was gone to, which takes the focus away.
  addEventListener("load", () =>
    requestAnimationFrame(() => document.querySelector("[data-focus]")?.focus()),
  );
  offer();
  listening();
  setInterval(aged, 30 * 1000);
  setInterval(watched, 10 * 1000);
})();

// Keeps a page as it is now: after each event the parts marked `data-live` are read anew.
"use strict";
(() => {
  const PAUSE = 700;
  const lamp = document.getElementById("live");
  let last = 0, timer = 0, reading = false, again = false;

  const tell = (state, title) => {
    lamp.dataset.state = state;
    lamp.title = title;
  };

  const touched = (part) => {
    const at = document.activeElement;
    if (at && part.contains(at) && /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName)) return true;
    return [...part.querySelectorAll("input:not([type=hidden]), textarea")].some((field) => field.value !== field.defaultValue);
  };

  const read = async () => {
    reading = true;
    last = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const now = fresh.getElementById(part.id);
        if (!now || touched(part) || now.innerHTML === part.innerHTML) continue;
        part.replaceChildren(...now.childNodes);
      }
    } catch {
      tell("off", "not connected");
    } finally {
      reading = false;
      if (again) { again = false; soon(); }
    }
  };

  const soon = () => {
    if (reading) { again = true; return; }
    if (timer || document.hidden) return;
    timer = setTimeout(() => { timer = 0; read(); }, Math.max(50, PAUSE - (Date.now() - last)));
  };

  const stream = new EventSource("/api/v1/events");
  stream.onopen = () => { tell("on", "live"); soon(); };
  stream.onerror = () => tell("off", "not connected");
  stream.onmessage = soon;
  stream.addEventListener("gone", soon);
  document.addEventListener("visibilitychange", soon);
  setInterval(soon, 30000);
})();

// Slides: formulas are set when a slide is first seen, because MathJax cannot measure what is hidden;
// then the text shrinks until the slide holds it.
const HEIGHT = 720;

function fit(slide) {
  const body = slide.querySelector(".fit");
  const room = HEIGHT - body.offsetTop;
  for (let percent = 100; percent >= 40; percent -= 5) {
    body.style.fontSize = percent + "%";
    if (body.scrollHeight <= room) return;
  }
  body.style.maxHeight = room + "px"; // even the smallest text is too much: let it scroll
  body.style.overflowY = "auto";
}

function show(slide) {
  if (slide.dataset.set) return;
  slide.dataset.set = "yes";
  MathJax.Hub.Queue(["Typeset", MathJax.Hub, slide], () => fit(slide));
}

Reveal.initialize({
  width: 1280, height: HEIGHT, margin: 0.04, center: false, hash: true, slideNumber: "c/t",
  plugins: [RevealNotes],
});
Reveal.on("ready", (event) => show(event.currentSlide));
Reveal.on("slidechanged", (event) => show(event.currentSlide));
Reveal.on("pdf-ready", () => document.querySelectorAll("section").forEach(show));

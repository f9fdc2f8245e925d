document.querySelectorAll(".viewer").forEach((viewer) => {
  const range = viewer.querySelector("input[type=range]");
  const show = () => {
    const [left, right] = [".left", ".right"].map((side) => viewer.querySelector(side + " :checked"));
    viewer.querySelectorAll(".layer").forEach((layer) => {
      layer.classList.toggle("under", layer.dataset.layer === left.value);
      layer.classList.toggle("over", layer.dataset.layer === right.value && left.value !== right.value);
    });
    viewer.style.setProperty("--cut", range.value + "%");
    range.setAttribute("aria-valuetext", left.dataset.label + " up to " + range.value + " percent, then " + right.dataset.label);
  };
  viewer.classList.add("live");
  viewer.addEventListener("input", show);
  show();
});

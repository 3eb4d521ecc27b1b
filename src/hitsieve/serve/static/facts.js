// The page of the facts of a dataset: checksums of its files, on demand.
import "./copy.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-checksum]");
  if (!button) return;
  const before = button.textContent;
  button.disabled = true;
  button.textContent = "reading the file …";
  try {
    const answer = await fetch(button.dataset.checksum);
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.what);
    button.replaceWith(told.sha256);
    document.getElementById("said").textContent = `SHA-256 of ${told.name}: ${told.sha256}`;
  } catch (error) {
    button.textContent = before;
    button.disabled = false;
    document.getElementById("said").textContent = error.message;
    button.title = error.message;
  }
});

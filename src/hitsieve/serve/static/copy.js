// Buttons that put a command, or a whole script, on the clipboard.

/** Quote a text for a shell. */
export const quoted = (text) => {
  // Signs that are not seen do things in a terminal, quoted or not.
  const plain = text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, "_");
  return /^[\w@%+=:,./-]+$/.test(plain) ? plain : `'${plain.replaceAll("'", `'"'"'`)}'`;
};

/** Command that fetches a file, and goes on where it stopped when it is called again. */
export function curl(path, name) {
  const header = document.documentElement.dataset.token ? ' -H "Authorization: Bearer $HITSIEVE_TOKEN"' : "";
  return `curl -fL --retry 5 -C -${header} -o ${quoted(name)} ${quoted(location.origin + path)}`;
}

async function put(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Away from localhost, and without https, browsers have this way only.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("the browser does not allow it");
}

async function copy(button) {
  const { copyFrom, copyFile, copyText, name } = button.dataset;
  const answer = copyFrom ? await fetch(copyFrom) : null;
  if (answer && !answer.ok) throw new Error(`status ${answer.status}`);
  await put(answer ? await answer.text() : copyFile ? curl(copyFile, name) : copyText);
}

function say(button, text) {
  const status = document.getElementById("said");
  if (status) status.textContent = text;
  const before = button.innerHTML;
  button.textContent = text;
  button.disabled = true;
  setTimeout(() => {
    button.innerHTML = before;
    button.disabled = false;
  }, 1500);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-from], [data-copy-file], [data-copy-text]");
  if (!button) return;
  try {
    await copy(button);
    say(button, "copied");
  } catch (error) {
    say(button, `not copied: ${error.message}`);
  }
});

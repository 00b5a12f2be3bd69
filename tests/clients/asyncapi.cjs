// Validates AsyncAPI documents as the AsyncAPI CLI does; a fault or a warning ends it with 1.
"use strict";
const { DiagnosticSeverity, Parser, fromFile } = require("@asyncapi/parser");

async function main() {
  for (const path of process.argv.slice(2)) {
    const found = await fromFile(new Parser(), path).validate();
    for (const { severity, code, message, path: at } of found) {
      if (severity > DiagnosticSeverity.Warning) continue;
      console.error(`${path}: ${code}: ${message} (${at.join("/")})`);
      process.exitCode = 1;
    }
  }
}

main();

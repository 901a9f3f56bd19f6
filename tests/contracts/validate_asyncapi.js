// Reads an AsyncAPI document with the parser of the specification's own project, and prints what it finds wrong: one
// line of JSON each. Exit 0 if that is nothing.
const { readFileSync } = require('node:fs');
const { Parser } = require('@asyncapi/parser');

async function main([path]) {
  const parser = new Parser();
  const { document, diagnostics } = await parser.parse(readFileSync(path, 'utf8'), { source: path });
  const wrong = diagnostics.filter((finding) => finding.severity <= 1);
  for (const finding of wrong) {
    console.log(JSON.stringify({ at: finding.path.join('/'), code: finding.code, message: finding.message }));
  }
  if (!document) process.exit(1);
  console.log(JSON.stringify({
    channels: document.channels().all().length,
    operations: document.operations().all().length,
    messages: document.messages().all().length,
  }));
  process.exit(wrong.length === 0 ? 0 : 1);
}

main(process.argv.slice(2));

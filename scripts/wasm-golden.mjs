#!/usr/bin/env node
// Plays the golden scenario and the golden journals and surveys the golden
// galaxy in the module that scripts/wasm-build made, and compares their hashes
// with those that native builds are held to. Fails when they differ. The module
// needs no imports.

import { readFile } from "node:fs/promises";

const root = new URL("../", import.meta.url);
const module = await readFile(new URL("target/wasm/wasm32-unknown-unknown/release/starmesh.wasm", root));
const { instance } = await WebAssembly.instantiate(module, {});

const read = (path) => readFile(new URL(path, root), "utf8");
const hash = async (path) => (await read(path)).match(/pub const HASH: &str = "([0-9a-f]{32})";/)[1];
const states = [...(await read("src/entity/golden/stored.txt")).matchAll(/^sector\/state\/\d+ ([0-9a-f]{32})$/gm)];

let failed = false;
// The first 8 of the hash's 16 bytes; an i64 comes as a signed BigInt.
const compare = (what, result, golden) => {
    const played = BigInt.asUintN(64, result).toString(16).padStart(16, "0");
    const same = played === golden.slice(0, 16);
    failed ||= !same;
    if (same) console.log(`${what}: ${played}… as in native builds`);
    else console.error(`wasm-golden: ${what}: ${played} in WebAssembly, ${golden.slice(0, 16)} expected`);
};
compare("scenario", instance.exports.golden_hash(), await hash("src/sim/golden.rs"));
compare("galaxy", instance.exports.golden_galaxy(), await hash("src/sim/galaxy/golden.rs"));
// 0 when any line is read, replayed or written otherwise.
compare("journals", instance.exports.golden_journals(), states.at(-1)[1]);
process.exit(failed ? 1 : 0);

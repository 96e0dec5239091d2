#!/usr/bin/env node
// Plays the golden scenario in the module that scripts/wasm-build made, and
// compares its hash with the one that native builds are held to. Fails when
// they differ. The module needs no imports.

import { readFile } from "node:fs/promises";

const root = new URL("../", import.meta.url);
const module = await readFile(new URL("target/wasm/wasm32-unknown-unknown/release/starmesh.wasm", root));
const source = await readFile(new URL("src/sim/golden.rs", root), "utf8");
const [, golden] = source.match(/pub const HASH: &str = "([0-9a-f]{32})";/);

const { instance } = await WebAssembly.instantiate(module, {});
// The first 8 of the hash's 16 bytes; an i64 comes as a signed BigInt.
const played = BigInt.asUintN(64, instance.exports.golden_hash()).toString(16).padStart(16, "0");
if (played !== golden.slice(0, 16)) {
    console.error(`wasm-golden: ${played} played in WebAssembly, ${golden.slice(0, 16)} expected`);
    process.exit(1);
}
console.log(`${played}… as in native builds`);

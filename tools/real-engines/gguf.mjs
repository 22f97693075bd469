// Writes a GGUF file, version 3: metadata and float32 tensors, little-endian. Nothing more.
import { writeFileSync } from "node:fs";

const ALIGNMENT = 32;
const TYPE = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 };
const F32_TENSOR = 0;

const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32LE(n); return b; };
const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(n)); return b; };
const string = (s) => { const b = Buffer.from(s, "utf8"); return Buffer.concat([u64(b.length), b]); };

function scalar(type, value) {
    switch (type) {
        case "uint32": return u32(value);
        case "int32": { const b = Buffer.alloc(4); b.writeInt32LE(value); return b; }
        case "float32": { const b = Buffer.alloc(4); b.writeFloatLE(value); return b; }
        case "bool": return Buffer.from([value ? 1 : 0]);
        case "string": return string(value);
        default: throw new Error(`no GGUF type ${type}`);
    }
}

// "float32[]" is an array of float32.
function metadata([key, type, value]) {
    if (!type.endsWith("[]"))
        return Buffer.concat([string(key), u32(TYPE[type]), scalar(type, value)]);
    const item = type.slice(0, -2);
    return Buffer.concat([string(key), u32(TYPE.array), u32(TYPE[item]), u64(value.length),
        ...value.map((v) => scalar(item, v))]);
}

const padding = (length) => Buffer.alloc((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT);

// entries: [key, type, value] each; tensors: {name, shape, data: Float32Array}, shape[0] innermost.
export function writeGguf(path, entries, tensors) {
    const parts = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(entries.length), ...entries.map(metadata)];
    let offset = 0;
    for (const { name, shape, data } of tensors) {
        parts.push(string(name), u32(shape.length), ...shape.map(u64), u32(F32_TENSOR), u64(offset));
        offset += data.byteLength + padding(data.byteLength).length;
    }
    const head = Buffer.concat(parts);
    const bodies = tensors.flatMap(({ data }) =>
        [Buffer.from(data.buffer, data.byteOffset, data.byteLength), padding(data.byteLength)]);
    writeFileSync(path, Buffer.concat([head, padding(head.length), ...bodies]));
}

import Tensors
import TestSupport
import Testing

/// Files that are refused, and what is said of them.
extension SafetensorsFileTests {
  static let malformed: [Malformed] = [
    Malformed(testDescription: "empty", bytes: [], kind: .truncated, words: ["is empty"]),
    Malformed(
      testDescription: "short", bytes: [1, 2, 3], kind: .truncated,
      words: ["its size of 3 is less than the 8 bytes"]),
    Malformed(
      testDescription: "header beyond the file", bytes: littleEndian(UInt64(100)) + [0x7B, 0x7D],
      kind: .truncated, words: ["header ends at byte 108", "only 10 bytes"]),
    Malformed(
      testDescription: "header beyond the limit",
      bytes: littleEndian(UInt64(100_000_001)) + [0x7B, 0x7D], words: ["100000001", "limit"]),
    Malformed(
      testDescription: "header length of all ones", bytes: littleEndian(UInt64.max) + [0x7B, 0x7D],
      words: ["18446744073709551615", "limit"]),
    Malformed(
      testDescription: "empty header", bytes: littleEndian(UInt64(0)),
      words: ["the end of the text where '{'", "byte 8"]),
    Malformed(
      testDescription: "not JSON", bytes: safetensorsBytes("hello"), words: ["'h' where '{'"]),
    Malformed(
      testDescription: "other leading space", bytes: safetensorsBytes("\u{C}{}"),
      words: ["u{0C}' where '{'"]),
    Malformed(
      testDescription: "cut off", bytes: safetensorsBytes("{\"a\":{"),
      words: ["the end of the text", "byte 14"]),
    Malformed(
      testDescription: "text after the object", bytes: safetensorsBytes("{} x"),
      words: ["'x' where the end of the header"]),
    Malformed(
      testDescription: "trailing comma", bytes: safetensorsBytes("{\"__metadata__\":{},}"),
      words: ["'}' where '\"'"]),
    Malformed(
      testDescription: "no colon", bytes: safetensorsBytes("{\"a\" 1}"), words: ["'1' where ':'"]),
    Malformed(
      testDescription: "no comma between entries",
      bytes: safetensorsBytes("{\"__metadata__\":{} \"a\":{}}"), words: ["where ',' or '}'"]),
    Malformed(
      testDescription: "tensor is a number", bytes: safetensorsBytes("{\"a\":1}"),
      words: ["'1' where '{'", "tensor 'a'"]),
    Malformed(
      testDescription: "deep nesting",
      bytes: safetensorsBytes(String(repeating: "{\"a\":", count: 200_000)),
      words: ["deeper than 128 levels"]),
    Malformed(
      testDescription: "deep lists of an unknown key",
      bytes: safetensorsBytes("{\"a\":{\"x\":" + String(repeating: "[", count: 200_000)),
      words: ["deeper than 128 levels"]),
    Malformed(
      testDescription: "unknown key without end", bytes: safetensorsBytes("{\"a\":{\"x\":[1,"),
      words: ["the end of the text where a value"]),
    Malformed(
      testDescription: "unknown key with brackets that do not match",
      bytes: safetensorsBytes("{\"a\":{\"x\":[1}"), words: ["'}' where ',' or ']'"]),
    Malformed(
      testDescription: "unknown key with no value", bytes: safetensorsBytes("{\"a\":{\"x\":}}"),
      words: ["'}' where a value"]),
    Malformed(
      testDescription: "unknown key with half a number",
      bytes: safetensorsBytes("{\"a\":{\"x\":1e+}}"), words: ["'1e+' for a number"]),
    Malformed(
      testDescription: "deep lists",
      bytes: safetensorsBytes(
        "{\"a\":{\"shape\":" + String(repeating: "[", count: 200_000)),
      words: ["'[' where a whole number"]),
    Malformed(
      testDescription: "name not UTF-8",
      bytes: littleEndian(UInt64(8)) + [0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x7B, 0x7D, 0x7D],
      words: ["not valid UTF-8", "byte 9"]),
    Malformed(
      testDescription: "string without end", bytes: safetensorsBytes("{\"abc"),
      words: ["a string without an end"]),
    Malformed(
      testDescription: "control character", bytes: safetensorsBytes("{\"a\nb\":{}}"),
      words: ["control character", "byte 11"]),
    Malformed(
      testDescription: "unknown escape", bytes: safetensorsBytes("{\"a\\x\":{}}"),
      words: ["escape that JSON does not have"]),
    Malformed(
      testDescription: "bad hexadecimal", bytes: safetensorsBytes("{\"\\u12g4\":{}}"),
      words: ["'g' where a hexadecimal digit"]),
    Malformed(
      testDescription: "half a surrogate pair", bytes: safetensorsBytes("{\"\\ud83d\":{}}"),
      words: ["half of a character"]),
    Malformed(
      testDescription: "reversed surrogate pair",
      bytes: safetensorsBytes("{\"\\ude00\\ud83d\":{}}"), words: ["half of a character"]),
    Malformed(
      testDescription: "duplicate tensor", bytes: two("[0,4]", "[4,8]", names: ("x", "x")),
      words: ["tensor 'x' for the second time, and not as before"]),
    Malformed(
      testDescription: "duplicate tensor by an escape",
      bytes: two("[0,4]", "[4,8]", names: ("x", "\\u0078")), words: ["'x' for the second time"]),
    Malformed(
      testDescription: "duplicate tensor of which the last would fit",
      bytes: two("[0,4]", "[0,8]", names: ("x", "x")), words: ["'x' for the second time"]),
    Malformed(
      testDescription: "duplicate field",
      bytes: safetensorsBytes("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}"),
      words: ["'dtype' for the second time"]),
    Malformed(
      testDescription: "metadata twice",
      bytes: safetensorsBytes("{\"__metadata__\":{},\"__metadata__\":{}}"),
      words: ["'__metadata__' for the second time"]),
    Malformed(
      testDescription: "metadata that is a number",
      bytes: safetensorsBytes("{\"__metadata__\":{\"k\":1}}"),
      words: ["'1' where '\"' of a string"]),
    Malformed(
      testDescription: "no dtype",
      bytes: safetensorsBytes("{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}"),
      words: ["no dtype in tensor 'a'"]),
    Malformed(
      testDescription: "no shape",
      bytes: safetensorsBytes("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}"),
      words: ["no shape in tensor 'a'"]),
    Malformed(
      testDescription: "no offsets",
      bytes: safetensorsBytes("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}"),
      words: ["no data_offsets in tensor 'a'"]),
    Malformed(
      testDescription: "dtype is a number", bytes: one(dtype: "7"), words: ["'7' where '\"'"]),
    Malformed(
      testDescription: "negative dimension", bytes: one(shape: "[-2]"), words: ["negative number"]),
    Malformed(
      testDescription: "fractional dimension", bytes: one(shape: "[2.0]"), words: ["fractional"]),
    Malformed(
      testDescription: "exponent in a dimension", bytes: one(shape: "[2e0]"), words: ["fractional"]),
    Malformed(
      testDescription: "leading zero", bytes: one(shape: "[02]"), words: ["leading zero"]),
    Malformed(
      testDescription: "dimension beyond Int", bytes: one(shape: "[9223372036854775808]"),
      words: ["beyond 9223372036854775807"]),
    Malformed(
      testDescription: "dimension far beyond Int",
      bytes: one(shape: "[\(String(repeating: "9", count: 5000))]"), words: ["beyond"]),
    Malformed(
      testDescription: "elements beyond Int", bytes: one(shape: "[4294967296,4294967296]"),
      words: ["more elements than can be counted", "tensor 'a'"]),
    Malformed(
      testDescription: "bytes beyond Int", bytes: one(shape: "[9223372036854775807]"),
      words: ["no whole number of bytes", "tensor 'a'"]),
    Malformed(
      testDescription: "list with a comma at its end", bytes: one(shape: "[2,]"),
      words: ["']' where a whole number"]),
    Malformed(
      testDescription: "list without a comma", bytes: one(shape: "[1 2]"),
      words: ["'2' where ',' or ']'"]),
    Malformed(
      testDescription: "size too small", bytes: one(shape: "[3]"),
      words: ["tensor 'a'", "data_offsets [0, 8] is 8", "[3] of type F32 takes 12"]),
    Malformed(
      testDescription: "sub-byte elements that are no bytes",
      bytes: one(dtype: "\"F4\"", shape: "[3]", offsets: "[0,1]", data: [0]),
      words: ["no whole number of bytes"]),
    Malformed(
      testDescription: "one offset", bytes: one(offsets: "[8]"), words: ["1 data_offsets instead"]),
    Malformed(
      testDescription: "three offsets", bytes: one(offsets: "[0,8,8]"), words: ["3 data_offsets"]),
    Malformed(
      testDescription: "reversed offsets", bytes: one(offsets: "[8,0]"),
      words: ["tensor 'a'", "reversed"]),
    Malformed(
      testDescription: "hole at the start", bytes: one(offsets: "[4,12]"),
      words: ["tensor 'a'", "hole from 0 to 4"]),
    Malformed(
      testDescription: "hole between", bytes: two("[0,4]", "[6,10]"),
      words: ["tensor 'b'", "hole from 4 to 6"]),
    Malformed(
      testDescription: "overlap", bytes: two("[0,4]", "[2,6]"),
      words: ["tensor 'b'", "overlap", "ends at 4"]),
    Malformed(
      testDescription: "the same place twice", bytes: two("[0,4]", "[0,4]"), words: ["overlap"]),
    Malformed(
      testDescription: "data cut short", bytes: Array(one().dropLast(3)), kind: .truncated,
      words: ["cut short by 3 of its 8 bytes"]),
    Malformed(
      testDescription: "offsets at the end of the integers",
      bytes: one(
        dtype: "\"U8\"", shape: "[9223372036854775807]", offsets: "[0,9223372036854775807]"),
      kind: .truncated, words: ["by 9223372036854775799 of its 9223372036854775807 bytes"]),
    Malformed(
      testDescription: "data too long", bytes: one() + [0, 0],
      words: ["its last tensor ends at byte 70, but the file has 72"]),
    Malformed(
      testDescription: "data without tensors", bytes: safetensorsBytes("{}", data: [1]),
      words: ["its last tensor ends at byte 10, but the file has 11"]),
  ]
}

import Tensors
import TestSupport
import Testing

@Suite("Damaged files")
struct FuzzTests {
  /// Files that are valid, to be damaged.
  private static func seeds() -> (safetensors: [UInt8], npy: [UInt8]) {
    let header =
      "{\"__metadata__\":{\"k\":\"v\\u00e9\\n\"},\"q\":{\"dtype\":\"F32\",\"shape\":[1,2,3],"
      + "\"data_offsets\":[0,24]},\"k\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]},"
      + "\"e\":{\"dtype\":\"I64\",\"shape\":[0,9],\"data_offsets\":[32,32]}}  "
    let data = [UInt8](repeating: 0x11, count: 32)
    return (
      safetensorsBytes(header, data: data),
      npyBytes(NpyFileTests.header(shape: "(4, 2, 1)"), data: data)
    )
  }

  /// What a number or a mark in a header may become.
  private static let tokens = [
    "-1", "9223372036854775807", "9223372036854775808", "18446744073709551615", "1e9", "0.5", "{",
    "}",
    "[", "]", "\"", "'", "(", ")", ",", ":", "\\u", "\\", "F4", "F64", "<f2", "True", "\u{0}", "é",
    "",
  ].map { Array($0.utf8) }

  /// One to four random changes: bits, bytes, tokens, pieces cut out, doubled, or the end cut off.
  private static func damaged(_ seed: [UInt8], _ generator: inout SplitMix) -> [UInt8] {
    var bytes = seed
    for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
      let place = Int.random(in: 0..<bytes.count, using: &generator)
      let end = Int.random(in: place...min(bytes.count, place + 20), using: &generator)
      switch Int.random(in: 0..<6, using: &generator) {
      case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      case 1: bytes[place] = .random(in: 0 ... .max, using: &generator)
      case 2:
        bytes.replaceSubrange(place..<end, with: tokens.randomElement(using: &generator) ?? [])
      case 3: bytes.removeSubrange(place..<end)
      case 4: bytes.insert(contentsOf: bytes[place..<end], at: place)
      default: bytes.removeSubrange(place...)
      }
    }
    return bytes
  }

  /// Opens the file and reads all that it offers; returns what refused it.
  private static func readAll(_ path: String) -> TensorFileError? {
    refusal { () throws(TensorFileError) in
      if let file = try? SafetensorsFile.open(path) {
        for entry in file.entries where entry.elementType != nil {
          _ = try file.source(entry.name).readAll(nonFinite: .allowed)
        }
      } else {
        let source = try TensorSource.open(path, tensor: "q", rank: 3)
        _ = try source.readAll(nonFinite: .allowed)
      }
    }
  }

  @Test("Damage is an error or does no harm, and never stops the process", arguments: 0..<8)
  func damage(seed: UInt64) throws {
    let folder = try TemporaryFolder()
    var generator = SplitMix(state: seed)
    let seeds = Self.seeds()
    var refusals = 0
    let rounds = 1000
    for round in 0..<rounds {
      var bytes = Self.damaged(round % 3 == 0 ? seeds.npy : seeds.safetensors, &generator)
      // Most headers would be refused for their length alone: set the right one in half the cases.
      if round % 2 == 1, round % 3 != 0, bytes.count > 40 {
        bytes.replaceSubrange(0..<8, with: littleEndian(UInt64(bytes.count - 8 - 32)))
      }
      let path = try folder.file("damaged", bytes)
      if let error = Self.readAll(path) {
        refusals += 1
        #expect(error.description.contains("'\(path)'"))
        #expect(error.description.count < 1000)
      }
    }
    #expect(refusals > rounds / 2)
    #expect(refusals < rounds)
  }

  @Test("Every truncation of a valid file is refused")
  func truncations() throws {
    let folder = try TemporaryFolder()
    let seeds = Self.seeds()
    for (name, bytes) in [("x.safetensors", seeds.safetensors), ("x.npy", seeds.npy)] {
      for count in 0..<bytes.count {
        let path = try folder.file(name, Array(bytes[..<count]))
        #expect(Self.readAll(path) != nil)
      }
      #expect(Self.readAll(try folder.file(name, bytes)) == nil)
    }
  }
}

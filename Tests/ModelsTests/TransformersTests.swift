import Foundation
import TestSupport
import Tensors
import Testing

/// Small models of every architecture, whose logits transformers has computed.
///
/// `decoders.py` has written what they are and what comes out; their numbers are a formula of the
/// tensors' names.
@Suite("gyre logits beside transformers")
struct TransformersTests {
  private struct Fixture: Decodable {
    let tokens: [Int]
    let vocabulary: Int
    let cases: [Model]
  }

  private struct Model: Decodable {
    let name: String
    let tensors: [Values]
    let largest: Float
    /// Of the last tokens.
    let logits: String
  }

  private struct Values: Decodable {
    let name: String
    let shape: [Int]
    let scale: Float
    let offset: Float
    let dtype: String?

    /// Those from −1 to 1 that the name stands for, scaled and moved without any rounding; bytes are
    /// rounded down.
    var bytes: [UInt8] {
      var state = name.utf8.reduce(0xCBF2_9CE4_8422_2325) { (state: UInt64, byte) in
        (state ^ UInt64(byte)) &* 0x100_0000_01B3
      }
      return (0..<shape.reduce(1, *)).flatMap { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let number = (Float(state >> 40 & 0xFFFF) / 32768 - 1) * scale + offset
        return dtype == "U8" ? [UInt8(number)] : withBytes(of: number)
      }
    }

    private func withBytes(of number: Float) -> [UInt8] {
      (0..<4).map { UInt8(truncatingIfNeeded: number.bitPattern >> (8 * $0)) }
    }
  }

  @Test("logits are those of transformers")
  func logits() async throws {
    let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "decoders.json")
    let data = try Data(contentsOf: url)
    let fixture = try JSONDecoder().decode(Fixture.self, from: data)
    let object = try JSONSerialization.jsonObject(with: data) as? [String: Any]
    let objects = try #require(object?["cases"] as? [[String: Any]])
    #expect(fixture.cases.count >= 10)
    let ids = fixture.tokens.map(String.init).joined(separator: ",")
    for (number, model) in fixture.cases.enumerated() {
      let folder = try TemporaryFolder()
      let config = try #require(objects[number]["config"])
      _ = try folder.file(
        "config.json", Array(try JSONSerialization.data(withJSONObject: config)))
      _ = try folder.file("model.safetensors", try safetensors(model.tensors))
      if model.name == "gpt-oss-four-bits" { try await expectCopies(folder.path) }
      let ranks = [1, 2, 3, 5][number % 4]
      let output = "\(folder.path)/logits.safetensors"
      let result = try await MPIJob.run(
        program: "gyre",
        arguments: ["logits", folder.path, "--ids", ids, "--chunk", "16", "--output", output],
        ranks: ranks,
        // Where no memory can be shared each rank makes the copies that ranks share elsewhere.
        environment: model.name == "gpt-oss-four-bits" ? ["OMPI_MCA_osc": "^sm"] : [:])
      try #require(result.isSuccess, "\(model.name): \(result)")
      let found = try SafetensorsFile.open(output).source("logits").readAll()
      let expected = TestFile.floats(TestFile.bytes(hexadecimal: model.logits))
      let rows = expected.count / fixture.vocabulary
      let first = fixture.tokens.count - rows
      var error: Float = 0
      for (index, value) in expected.enumerated() {
        let (row, column) = index.quotientAndRemainder(dividingBy: fixture.vocabulary)
        error = max(error, abs(found[first + row, column] - value))
      }
      #expect(rows == 4 && error < 1e-5 * model.largest, "\(model.name) on \(ranks): \(error)")
    }
  }

  /// Experts of four bits in a folder are copied, of three layers four with three matrices of
  /// 64 × 32, 17 bytes for 32 numbers: memory of a rank's own, if it does not share a host.
  private func expectCopies(_ path: String) async throws {
    for (ranksPerHost, copies) in [(1, 3 * 4 * 3 * 64 * 17), (2, 0)] {
      let result = try await MPIJob.runAlone(
        program: "gyre",
        arguments: [
          "inspect", path, "--ranks", "2", "--ranks-per-host", "\(ranksPerHost)", "--report",
          "json",
        ])
      let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
      let report = try #require(object as? [String: Any])
      let memory = try #require(report["memory"] as? [String: Any], "\(result)")
      #expect(memory["copiedBytes"] as? Int == copies)
      let types = try #require(report["types"] as? [[String: Any]])
      #expect(types.contains { $0["type"] as? String == "MXFP4" && $0["tensors"] as? Int == 9 })
    }
  }

  /// A file of tensors, one after the other.
  private func safetensors(_ tensors: [Values]) throws -> [UInt8] {
    var (header, body): ([String: Any], [UInt8]) = ([:], [])
    for tensor in tensors {
      let start = body.count
      body += tensor.bytes
      header[tensor.name] = [
        "dtype": tensor.dtype ?? "F32", "shape": tensor.shape, "data_offsets": [start, body.count],
      ]
    }
    let text = try JSONSerialization.data(withJSONObject: header)
    return (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + Array(text) + body
  }
}

import Foundation
import Models
import TestSupport
import Tensors
import Testing

/// Models whose layers carry states, from GGUF files, computed by `gyre` on ranks and by the
/// oracle.
@Suite("Models that carry states")
struct StateModelTests {
  private static let architectures = ["mamba", "mamba2", "rwkv6"]

  private func model(_ architecture: String) -> TinyModel {
    TinyModel(architecture: architecture, type: 8, isTied: false)
  }

  private func oracle(_ architecture: String, _ path: String) throws -> any PlainStateModel {
    let (model, file) = (model(architecture), try ModelFile(path))
    return switch architecture {
    case "mamba2": PlainMamba2(model: model, file: file)
    case "rwkv6": PlainRWKV6(model: model, file: file)
    default: PlainMamba(model: model, file: file)
    }
  }

  @Test(
    "logits are those of the oracle, with fewer tokens than ranks too",
    arguments: architectures)
  func logits(architecture: String) async throws {
    let folder = try TemporaryFolder()
    let path = try model(architecture).write(to: folder)
    // In four pieces, and at once on ranks without tokens.
    for (count, ranks, chunk, piece) in [(41, 3, "7", "13"), (4, 5, "512", "9")] {
      let tokens = (0..<count).map { ($0 * 37 + $0 * $0 * 11) % TinyModel.vocabulary }
      let expected = try oracle(architecture, path).logits(tokens)
      let output = "\(folder.path)/logits-\(ranks).safetensors"
      let result = try await gyre(
        [
          "logits", path, "--ids", tokens.map(String.init).joined(separator: ","), "--chunk", chunk,
          "--piece", piece, "--output", output,
        ], ranks: ranks)
      try #require(result.isSuccess, "\(result)")
      let logits = try SafetensorsFile.open(output).source("logits").readAll()
      let largest = expected.joined().map(abs).reduce(0, max)
      var error = 0.0
      for (token, row) in expected.enumerated() {
        for (column, value) in row.enumerated() {
          error = max(error, abs(value - Double(logits[token, column])))
        }
      }
      #expect(error < 2e-5 * largest, "on \(ranks) ranks: \(error / largest)")
    }
  }

  /// What `rwkv.py` has written: the last rows of what the package rwkv makes of the same numbers.
  private struct Published: Decodable {
    let tokens: [Int]
    let largest: Float
    let logits: String
  }

  @Test("logits of RWKV's sixth version are the package's of its authors")
  func published() async throws {
    let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "rwkv.json")
    let fixture = try JSONDecoder().decode(Published.self, from: try Data(contentsOf: url))
    let folder = try TemporaryFolder()
    let path = try TinyModel(architecture: "rwkv6", isTied: false).write(to: folder)
    let output = "\(folder.path)/logits.safetensors"
    let result = try await gyre(
      [
        "logits", path, "--ids", fixture.tokens.map(String.init).joined(separator: ","),
        "--output", output,
      ], ranks: 2)
    try #require(result.isSuccess, "\(result)")
    let logits = try SafetensorsFile.open(output).source("logits").readAll()
    let expected = TestFile.floats(TestFile.bytes(hexadecimal: fixture.logits))
    #expect(expected.count == 4 * TinyModel.vocabulary)
    var error: Float = 0
    for (index, value) in expected.enumerated() {
      let (row, column) = index.quotientAndRemainder(dividingBy: TinyModel.vocabulary)
      error = max(error, abs(logits[fixture.tokens.count - 4 + row, column] - value))
    }
    #expect(error < 1e-5 * fixture.largest, "\(error / fixture.largest)")
  }

  @Test(
    "text goes on as the oracle says, whatever the ranks",
    arguments: [
      ("mamba", 1), ("mamba", 2), ("mamba", 5), ("mamba2", 1), ("mamba2", 2), ("rwkv6", 1),
      ("rwkv6", 5),
    ])
  func generation(architecture: String, ranks: Int) async throws {
    let folder = try TemporaryFolder()
    let path = try model(architecture).write(to: folder)
    let oracle = try oracle(architecture, path)
    let prompt = "Once upon a time"
    var tokens = prompt.utf8.map(Int.init)
    for _ in 0..<12 {
      let row = try oracle.logits(tokens)[tokens.count - 1]
      tokens.append(row.indices.max { row[$0] < row[$1] } ?? 0)
      if tokens.last == 256 { break }
    }
    let result = try await gyre(
      ["generate", path, "--prompt", prompt, "--max-tokens", "12", "--report", "json"],
      ranks: ranks)
    let report = try json(result)
    #expect(report["tokens"] as? [Int] == Array(tokens.dropFirst(prompt.utf8.count)))
  }

  @Test("what is about attention is refused")
  func refusals() async throws {
    let folder = try TemporaryFolder()
    let path = try model("mamba").write(to: folder)
    let result = try await gyre(
      ["generate", path, "--prompt", "A", "--max-tokens", "1", "--window", "9"], ranks: 2)
    #expect(
      result.ending == .exited(64) && result.standardError.contains("a model of mamba has none"))
  }
}

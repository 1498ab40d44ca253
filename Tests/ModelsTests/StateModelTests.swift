import Foundation
import TestSupport
import Tensors
import Testing

/// Models whose layers carry states, from GGUF files, computed by `gyre` on ranks and by the
/// oracle.
@Suite("Models that carry states")
struct StateModelTests {
  private let model = TinyModel(architecture: "mamba", type: 8, isTied: false)

  private func gyre(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: arguments, ranks: ranks)
  }

  @Test("logits are those of the oracle, with fewer tokens than ranks too")
  func logits() async throws {
    let folder = try TemporaryFolder()
    let path = try model.write(to: folder)
    // At once, in pieces, and on ranks without tokens.
    for (count, ranks, chunk, piece) in [
      (41, 3, "7", "100"), (41, 3, "5", "13"), (4, 5, "512", "2"),
    ] {
      let tokens = (0..<count).map { ($0 * 37 + $0 * $0 * 11) % TinyModel.vocabulary }
      let expected = try PlainMamba(model, path: path).logits(tokens)
      let output = "\(folder.path)/logits-\(piece).safetensors"
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

  @Test("text goes on as the oracle says, whatever the ranks", arguments: [1, 2, 5])
  func generation(ranks: Int) async throws {
    let folder = try TemporaryFolder()
    let path = try model.write(to: folder)
    let oracle = try PlainMamba(model, path: path)
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
    try #require(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    let report = try #require(object as? [String: Any])
    #expect(report["tokens"] as? [Int] == Array(tokens.dropFirst(prompt.utf8.count)))
  }

  @Test("what is about attention is refused")
  func refusals() async throws {
    let folder = try TemporaryFolder()
    let path = try model.write(to: folder)
    let result = try await gyre(
      ["generate", path, "--prompt", "A", "--max-tokens", "1", "--window", "9"], ranks: 2)
    #expect(
      result.ending == .exited(64) && result.standardError.contains("a model of mamba has none"))
  }
}

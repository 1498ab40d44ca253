import Foundation
import Reporting
import Testing

/// Progress in a file is a line now and then.
@Suite("Progress")
struct ProgressTests {
  /// What a thousand steps leave in a log.
  private func log(
    every interval: Double, steps: Int = 1000, parts: (count: Int, name: String)? = nil
  ) throws -> [Substring] {
    let path = FileManager.default.temporaryDirectory.path + "/gyre-log-" + UUID().uuidString
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    try #require(descriptor >= 0)
    defer {
      close(descriptor)
      unsafe unlink(path)
    }
    var line = ProgressLine(
      "bench", total: steps, parts: parts, on: .log(descriptor, every: interval))
    for _ in 0..<steps { line.advance(by: 1) }
    line.clear()
    return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
  }

  @Test("a log gets whole lines, and the more seldom the longer it takes")
  func seldom() throws {
    let lines = try log(every: 0)
    #expect((1..<200).contains(lines.count), "\(lines.count)")
    for line in lines {
      #expect(line.contains(/^gyre: bench \d+ %, \d+(\.\d+)? µ?m?s, about .+ left$/), "\(line)")
    }
  }

  @Test("what the whole is made of has a rate")
  func rate() throws {
    for line in try log(every: 0, parts: (5000, "tokens")) {
      #expect(line.contains(/left, [\d,.]+ tokens a second$/), "\(line)")
    }
  }

  @Test("a short computation leaves no line")
  func short() throws {
    #expect(try log(every: 10).isEmpty)
  }

  @Test("nobody is told where nobody watches")
  func unwatched() {
    var line = ProgressLine("bench", total: 10, on: nil)
    line.advance(by: 10)
    line.clear()
  }
}

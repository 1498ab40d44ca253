import Foundation
import TestSupport
import Testing

/// What README.md tells people to type.
@Suite("README")
struct ReadmeTests {
  private static let hasNumPy: Bool = {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3", "-c", "import numpy"]
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }()

  @Test("six lines of NumPy go in and out", .enabled(if: hasNumPy, "there is no NumPy"))
  func numpy() async throws {
    let page = try String(
      contentsOfFile: BuiltProducts.packageRoot + "/README.md", encoding: .utf8)
    let fences = page.components(separatedBy: "```")
    // Before those of the Python package, which has tests of its own.
    let python = fences.filter { $0.hasPrefix("python\n") && !$0.contains("import gyre") }
      .map { $0.dropFirst("python\n".count) }
    let start = "sh\nLaunch/local -n 2 attend --q "
    let shell = try #require(fences.first { $0.hasPrefix(start) }).dropFirst("sh\n".count)
    try #require(python.count == 2)
    #expect(python.joined().split(separator: "\n").count == 6)

    let folder = try TemporaryFolder()
    let script = """
      set -e
      python3 - <<'END'
      \(python[0])END
      \(BuiltProducts.packageRoot)/\(shell)
      python3 - <<'END'
      import json, numpy as np
      \(python[1])
      v = np.load("v.npy")
      # Under a causal mask the first row sees its own key only.
      assert o.shape == v.shape and np.allclose(o[:, 0], v[:, 0], atol=1e-6), o[0, 0]
      END
      """
    let result = try await Command.run(
      "sh", arguments: ["-c", "cd \"$0\" && \(script)", folder.path],
      environment: ["GYRE_BINARY": BuiltProducts.executable("gyre")], timeoutSeconds: 60)
    #expect(result.isSuccess, "\(result)")
  }
}

import Foundation
import Tensors
import TestSupport
import Testing

/// A mistake in the arguments ends with 64, also one that only shows once the ranks or the input
/// are known; whatever else is wrong ends with 1.
@Suite("Exit codes")
struct ExitCodeTests {
  private static let random = ["attend", "--random", "1x64x4x2x8"]

  /// Command lines that are wrong on two ranks, and words of what is said.
  static let mistakes: [(arguments: [String], words: [String])] = [
    (random + ["--weights", "1,2,3"], ["--weights", "2 ranks"]),
    (random + ["--transport", "mesh:3x1"], ["3x1", "there are 2"]),
    (random + ["--transport", "mesh", "--mesh", "1x5"], ["1x5"]),
    (
      random + ["--transport", "heads", "--gradients", "--backward-route", "query"],
      ["route of queries"]
    ),
    (random + ["--ranks-per-host", "1", "--transport", "shared"], ["'shared'"]),
    (["attend", "--random", "1x99999999999x64x64x128"], ["--random", "smaller problem"]),
    (["attend", "{wide}", "--wire", "f16"], ["--wire bf16"]),
    (["attend", "{cross}", "--dilated", "8:1"], ["Dilated", "as many of both"]),
    (["stream", "{cross}", "--dilated", "8:1"], ["as many of both"]),
    (
      ["stream", "--random", "1x4000000000x64x64x8", "--dilated", "4000000000:1"]
        + ["--window", "1000000000"], ["--window"]
    ),
    (["attend", "{npy}"], ["--q, --k and --v"]),
    (
      ["attend", "--q", "{cross}", "--k", "{npy}", "--v", "{npy}"],
      [".safetensors", "input itself"]
    ),
    (["attend", "{cross}", "--names", "q=query"], ["'query'", "--names"]),
    (["bench", "strong", "--ranks", "1,4", "--tokens", "64"], ["--ranks", "mpirun -n 4"]),
    (["bench", "weak", "--ranks", "3"], ["--ranks"]),
    (["bench", "memory", "--ranks", "9", "--tokens", "64"], ["--ranks"]),
    (
      ["bench", "overlap", "--tokens", "64", "--transport", "mesh:3x1", "--heads", "4"], ["3x1"]
    ),
    (["predict", "--tokens", "1024"], ["--flops"]),
    (["predict", "--tokens", "1024", "--flops", "80G"], ["--network"]),
    (
      ["predict", "--tokens", "1M", "--flops", "80G", "--network", "10gbit", "--ranks", "3"]
        + ["--transport", "mesh:2x2"],
      ["mesh:2xB serves multiples of 2 ranks", "name another --transport"]
    ),
  ]

  /// The files that the table names, in braces.
  private func files(in folder: TemporaryFolder) throws -> [String: String] {
    var wide = [
      TestTensor("q", [1, 8, 2, 4]), TestTensor("k", [1, 8, 2, 4]), TestTensor("v", [1, 8, 2, 4]),
    ]
    wide[1].values[7] = 70_000
    let cross = [
      TestTensor("q", [1, 8, 2, 4]), TestTensor("k", [1, 9, 2, 4]), TestTensor("v", [1, 9, 2, 4]),
    ]
    return [
      "{wide}": try folder.safetensors(wide, name: "wide.safetensors"),
      "{cross}": try folder.safetensors(cross, name: "cross.safetensors"),
      "{npy}": try folder.file("k.npy", cross[1].npy),
    ]
  }

  @Test("mistakes in the arguments", arguments: mistakes)
  func usage(arguments: [String], words: [String]) async throws {
    let folder = try TemporaryFolder()
    let files = try files(in: folder)
    let result = try await MPIJob.run(
      program: "gyre", arguments: arguments.map { files[$0] ?? $0 }, ranks: 2, timeoutSeconds: 30)
    #expect(result.ending == .exited(64), "\(result)")
    let sentences = result.standardError.split(separator: "\n").filter { $0.hasPrefix("gyre: ") }
    #expect(sentences.count == 1, "\(result)")
    for word in words {
      #expect(sentences.first?.contains(word) == true, "'\(word)' is not in \(result)")
    }
  }

  @Test("on one rank without mpirun")
  func alone() async throws {
    for arguments in [
      Self.random + ["--weights", "1,2"], Self.random + ["--transport", "mesh:2x1"],
      ["bench", "link"], ["bench", "overlap"], ["bench", "strong", "--ranks", "2"],
      ["predict", "--tokens", "1024"],
    ] {
      let result = try await MPIJob.runAlone(program: "gyre", arguments: arguments)
      #expect(result.ending == .exited(64), "\(result)")
    }
  }

  @Test("every rank exits with the code of the mistake")
  func everyRank() async throws {
    let folder = try TemporaryFolder()
    // The shells note with what their ranks end, of which mpirun tells one.
    let script = #""$@"; code=$?; echo $code >"$0/$OMPI_COMM_WORLD_RANK"; exit $code"#
    _ = try await Command.run(
      "mpirun",
      arguments: [
        "--allow-run-as-root", "--oversubscribe", "-n", "3", "sh", "-c", script, folder.path,
        BuiltProducts.executable("gyre"),
      ] + Self.random + ["--weights", "1,2"], timeoutSeconds: 30)
    // A shell that mpirun ends in the middle has written nothing.
    let codes = try folder.names.map { String(decoding: try folder.bytes($0), as: UTF8.self) }
      .filter { !$0.isEmpty }
    #expect(codes.contains("64\n") && codes.allSatisfy { $0 == "64\n" }, "\(codes)")
  }

  @Test("what is wrong with files and results ends with 1")
  func others() async throws {
    let folder = try TemporaryFolder()
    let input = try #require(try files(in: folder)["{cross}"])
    let empty = try folder.file("empty.safetensors", [])
    for arguments in [
      ["attend", folder.path + "/missing.safetensors"], ["attend", empty],
      ["attend", input, "--output", folder.path + "/no/such/out.safetensors"],
      ["stream", empty, "--dilated", "8:1"],
    ] {
      let result = try await MPIJob.run(program: "gyre", arguments: arguments, ranks: 2)
      #expect(result.ending == .exited(1), "\(result)")
    }
  }
}

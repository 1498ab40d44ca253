import Foundation
import Tensors
import TestSupport
import Testing

/// Whatever a user can get wrong: one sentence that names the file or flag and the remedy, a
/// non-zero exit of the whole job within seconds, and no output file.
@Suite("Bad input")
struct BadInputTests {
  private static let good = [
    TestTensor("q", [1, 12, 4, 8]), TestTensor("k", [1, 12, 2, 8]), TestTensor("v", [1, 12, 2, 8]),
  ]

  /// Runs alone, and on some ranks, and expects a refusal with all of `words` in its only sentence.
  ///
  /// - Parameters:
  ///   - isAlsoOnRanks: false only alone, where others of its kind are tried on ranks.
  ///   - isLate: whether the output may have been begun, by ranks that do not all fail.
  private func expectRefusal(
    _ arguments: [String], in folder: TemporaryFolder, words: [String], isAlsoOnRanks: Bool = true,
    isLate: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let before = folder.names
    for isAlone in isAlsoOnRanks ? [true, false] : [true] {
      let command = ["attend"] + arguments
      let result =
        isAlone
        ? try await MPIJob.runAlone(program: "gyre", arguments: command, timeoutSeconds: 20)
        : try await MPIJob.run(
          program: "gyre", arguments: command, ranks: 3, cleansUp: isLate, timeoutSeconds: 20)
      #expect(
        !result.isSuccess && result.ending != .timedOut, "\(result)", sourceLocation: sourceLocation
      )
      // mpirun adds lines of its own about the exit code.
      let sentences = result.standardError.split(separator: "\n").filter {
        $0.hasPrefix("gyre: ")
      }
      #expect(sentences.count == 1, "\(result)", sourceLocation: sourceLocation)
      for word in words {
        #expect(
          sentences.first?.contains(word) == true, "'\(word)' is not in \(result)",
          sourceLocation: sourceLocation)
      }
      #expect(folder.names == before, "\(folder.names)", sourceLocation: sourceLocation)
    }
  }

  private func expectRefusal(
    file: String, in folder: TemporaryFolder, words: [String], isAlsoOnRanks: Bool = true,
    isLate: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    try await expectRefusal(
      [file, "--output", folder.path + "/out.safetensors"], in: folder, words: words,
      isAlsoOnRanks: isAlsoOnRanks, isLate: isLate, sourceLocation: sourceLocation)
  }

  @Test func filesThatCannotBeRead() async throws {
    let folder = try TemporaryFolder()
    try await expectRefusal(
      file: folder.path + "/missing.safetensors", in: folder,
      words: ["missing.safetensors", "no such file"])
    try await expectRefusal(file: folder.path, in: folder, words: [folder.path, "director"])
    let path = try folder.file("empty.safetensors", [])
    try await expectRefusal(file: path, in: folder, words: ["empty.safetensors"])
  }

  @Test func damagedFiles() async throws {
    let folder = try TemporaryFolder()
    _ = try folder.safetensors(Self.good)
    let bytes = try folder.bytes("input.safetensors")
    let truncated = try folder.file("truncated.safetensors", Array(bytes.dropLast(100)))
    try await expectRefusal(file: truncated, in: folder, words: ["truncated.safetensors", "100"])
    let long = try folder.file("long.safetensors", [255, 255, 255, 0, 0, 0, 0, 0] + bytes[8...])
    try await expectRefusal(file: long, in: folder, words: ["long.safetensors", "header"])

    func header(_ text: String, data: Int) throws -> String {
      let size = (0..<8).map { UInt8(truncatingIfNeeded: text.utf8.count >> (8 * $0)) }
      return try folder.file(
        "header.safetensors", size + Array(text.utf8) + [UInt8](repeating: 0, count: data))
    }
    func entry(_ name: String, _ begin: Int, _ end: Int, _ type: String = "F32") -> String {
      "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":[1,1,1,\((end - begin) / 4)],"
        + "\"data_offsets\":[\(begin),\(end)]}"
    }
    let (q, k, v) = (entry("q", 0, 16), entry("k", 16, 32), entry("v", 32, 48))
    try await expectRefusal(
      file: header("{\(q),\(entry("k", 8, 24)),\(v)}", data: 48), in: folder,
      words: ["header.safetensors", "overlap"])
    try await expectRefusal(
      file: header("{\(q),\(k),\(entry("v", 32, 4096))}", data: 48), in: folder,
      words: ["header.safetensors", "cut short by 4048"])
    try await expectRefusal(
      file: header("{\(q),\(k),\(v),\(entry("q", 0, 8))}", data: 48), in: folder,
      words: ["header.safetensors", "'q'", "second time"])
    try await expectRefusal(
      file: header("{\(q),\(k)}", data: 32), in: folder,
      words: ["header.safetensors", "no tensor 'v'", "no other tensor of rank 4"])
    let wide = "\"v\":{\"dtype\":\"F64\",\"shape\":[1,1,1,4],\"data_offsets\":[32,64]}"
    try await expectRefusal(
      file: header("{\(q),\(k),\(wide)}", data: 64), in: folder,
      words: ["header.safetensors", "'v'", "F64", "BF16"])
  }

  @Test func shapesThatDoNotFit() async throws {
    let folder = try TemporaryFolder()
    func file(_ q: Shape, _ k: Shape, _ v: Shape) throws -> String {
      try folder.safetensors(
        [TestTensor("q", q), TestTensor("k", k), TestTensor("v", v)], name: "shapes.safetensors")
    }
    let cases: [(Shape, Shape, Shape, [String])] = [
      ([1, 4, 5, 8], [1, 4, 2, 8], [1, 4, 2, 8], ["heads", "divide"]),
      ([1, 4, 2, 8], [1, 4, 2, 6], [1, 4, 2, 8], ["head dims of q and k"]),
      ([2, 4, 2, 8], [1, 4, 2, 8], [1, 4, 2, 8], ["batch"]),
      ([1, 4, 2, 8], [1, 4, 2, 8], [1, 5, 2, 8], ["k and v", "tokens"]),
      ([1, 4, 2, 8], [1, 4, 2, 8], [1, 4, 1, 8], ["k and v", "heads"]),
      ([1, 4, 2, 577], [1, 4, 2, 577], [1, 4, 2, 8], ["q and k is over 576", "project"]),
      ([1, 4, 2, 8], [1, 4, 2, 8], [1, 4, 2, 600], ["v is over 576", "parts of the columns"]),
      ([1, 4, 0, 8], [1, 4, 2, 8], [1, 4, 2, 8], ["heads"]),
      ([1, 4, 2, 8], [1, 4, 0, 8], [1, 4, 0, 8], ["heads"]),
    ]
    for (index, (q, k, v, words)) in cases.enumerated() {
      try await expectRefusal(
        file: try file(q, k, v), in: folder, words: ["shapes.safetensors"] + words,
        isAlsoOnRanks: index % 4 == 0)
    }
    let flat = try folder.safetensors(
      [TestTensor("q", [4, 8]), TestTensor("k", [4, 8]), TestTensor("v", [4, 8])],
      name: "flat.safetensors")
    try await expectRefusal(file: flat, in: folder, words: ["flat.safetensors", "'q'"])
  }

  @Test func flags() async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors(Self.good)
    let cases: [([String], [String])] = [
      (["--random", "-1x16x1x1x8"], ["--random", "at least 1"]),
      (["--random", "1x16x1x8"], ["--random", "1x16384x8x2x64"]),
      (["--random", "1x16x3x2x8"], ["--random", "divide"]),
      (["--random", "1x16x1x1x999"], ["--random", "999", "576"]),
      (["--random", "1x16x1x1x8x577"], ["--random", "577", "576"]),
      (["--random", "1x16x1x1x8x8x8"], ["--random", "another head dim for values"]),
      (["--random", "1x16x1x1x8", "--queries", "0"], ["--queries", "16"]),
      (["--random", "1x16x1x1x8", "--queries", "17"], ["--queries", "16"]),
      ([input, "--queries", "4"], ["--queries", "--random"]),
      (["--random", "1x99999999999999x64x64x128"], ["smaller"]),
      (["--random", "1x9223372036854775807x64x64x128"], ["--random", "smaller"]),
      (["--random", "1x99999999999999999999x1x1x8"], ["--random"]),
      ([input, "--layout", "spiral"], ["--layout", "spiral", "zigzag"]),
      ([input, "--wire", "int4"], ["--wire", "bf16"]),
      ([input, "--threads", "0"], ["--threads"]),
      ([input, "--threads", "-3"], ["--threads"]),
      ([input, "--scale", "nan"], ["--scale"]),
      ([input, "--report", "xml"], ["--report", "json"]),
      ([input, "--random", "1x16x1x1x8"], ["only one"]),
      ([], ["--random", "safetensors"]),
      (["--q", input], ["--k", "--v"]),
      ([input, "--weights", "1,x"], ["--weights"]),
      ([input, "--weights", "1,2,3,4"], ["--weights", "4"]),
      ([input, "--weights", "1,1,1", "--layout", "striped"], ["--weights", "striped"]),
      ([input, "--frobnicate"], ["--frobnicate"]),
    ]
    for (index, (arguments, words)) in cases.enumerated() {
      // All are found by the same parser, but for weights, which are for ranks.
      try await expectRefusal(
        arguments, in: folder, words: words,
        isAlsoOnRanks: index % 6 == 0 || arguments.contains("--weights"))
    }
  }

  @Test func outputsThatCannotBeWritten() async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors(Self.good)
    try await expectRefusal(
      [input, "--output", folder.path + "/no/such/out.safetensors"], in: folder,
      words: ["no/such"])
    try await expectRefusal(
      [input, "--output", input + "/out.safetensors"], in: folder, words: ["input.safetensors"])
    try await expectRefusal([input, "--output", folder.path], in: folder, words: [folder.path])
  }

  @Test func aFullDisk() async throws {
    let folder = try TemporaryFolder()
    // No file may grow past 64 MiB; o alone takes 200 MB. The reservation of its space meets the
    // limit as it would meet a full disk.
    let result = try await Command.run(
      "bash",
      arguments: [
        "-c",
        "ulimit -f 65536; exec mpirun --allow-run-as-root --oversubscribe -n 3 \"$@\"", "bash",
        BuiltProducts.executable("gyre"), "attend", "--random", "1x100000x8x1x64", "--output",
        folder.path + "/out.safetensors",
      ], timeoutSeconds: 20)
    #expect(!result.isSuccess && result.ending != .timedOut, "\(result)")
    #expect(result.standardError.contains("gyre: rank 0"), "\(result)")
    #expect(result.standardError.contains("out.safetensors"), "\(result)")
    #expect(folder.names.isEmpty)
  }

  @Test func numbersThatAreNot() async throws {
    let folder = try TemporaryFolder()
    for (name, index, value) in [("q", 5 * 32 + 3 * 8 + 2, Float.nan), ("k", 100, .infinity)] {
      var tensors = Self.good
      let place = try #require(tensors.firstIndex { $0.name == name })
      tensors[place].values[index] = value
      let input = try folder.safetensors(tensors, name: "bad-\(name).safetensors")
      try await expectRefusal(
        file: input, in: folder,
        words: [
          "bad-\(name).safetensors", "'\(name)'",
          name == "q" ? "[0, 5, 3, 2]" : "[0, 6, 0, 4]",
        ], isLate: true)
    }
    var tensors = Self.good
    tensors[1].values[7] = 70_000
    let input = try folder.safetensors(tensors, name: "large.safetensors")
    try await expectRefusal(
      [input, "--wire", "f16", "--output", folder.path + "/out.safetensors"], in: folder,
      words: ["k[0, 0, 0, 7]", "--wire bf16"], isLate: true)
  }

  @Test("finite inputs that overflow do not become an output of NaN")
  func overflow() async throws {
    let folder = try TemporaryFolder()
    var tensors = Self.good
    tensors[0].values[5 * 32 + 3 * 8] = 3e38
    tensors[1].values = tensors[1].values.map { $0 * 1000 }
    let input = try folder.safetensors(tensors)
    try await expectRefusal(
      [input, "--output", folder.path + "/out.safetensors"], in: folder,
      words: ["o[0, 5, 3, 0]", "too large"], isLate: true)
  }

  @Test("the rank that finds a bad number is named")
  func theRankIsNamed() async throws {
    let folder = try TemporaryFolder()
    var tensors = Self.good
    tensors[2].values[11 * 16] = .nan
    let input = try folder.safetensors(tensors)
    let result = try await MPIJob.run(
      program: "gyre", arguments: ["attend", input, "--layout", "contiguous"], ranks: 3)
    #expect(result.standardError.contains("gyre: rank 2 on "), "\(result)")
  }

  @Test("ranks with different arguments")
  func differentArguments() async throws {
    let gyre = BuiltProducts.executable("gyre")
    let start = [
      "--allow-run-as-root", "--oversubscribe", "-n", "1", gyre, "attend", "--random",
      "1x16x1x1x8", ":", "-n", "2", gyre, "attend", "--random",
    ]
    for other in ["1x17x1x1x8", "nonsense"] {
      let result = try await Command.run(
        "mpirun", arguments: start + [other], timeoutSeconds: 20)
      #expect(!result.isSuccess && result.ending != .timedOut, "\(result)")
      #expect(
        result.standardError.contains("gyre: rank 1 was started with")
          && result.standardError.contains(other), "\(result)")
    }
  }

  @Test("a rank that is killed ends the job, and nothing stays behind")
  func killedRank() async throws {
    let folder = try TemporaryFolder()
    // The shell becomes gyre, so that the number it notes is gyre's.
    let script = """
      if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then (sleep 1; kill -9 $$) & fi
      exec "$@"
      """
    let result = try await Command.run(
      "mpirun",
      arguments: [
        "--allow-run-as-root", "--oversubscribe", "-n", "3", "sh", "-c", script, "sh",
        BuiltProducts.executable("gyre"), "attend", "--random", "1x200000x8x1x64", "--output",
        folder.path + "/out.safetensors",
      ], timeoutSeconds: 30)
    #expect(!result.isSuccess && result.ending != .timedOut, "\(result)")
    #expect(result.standardError.contains("process rank 1"), "\(result)")
    #expect(folder.names.isEmpty, "\(folder.names)")
  }
}

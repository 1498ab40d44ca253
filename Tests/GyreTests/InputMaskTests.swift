import Foundation
import Tensors
import TestSupport
import Testing

@Suite("gyre attend with masks of the input")
struct InputMaskTests {
  private func attend(_ arguments: [String], ranks: Int) async throws -> CommandResult {
    try await MPIJob.run(program: "gyre", arguments: ["attend"] + arguments, ranks: ranks)
  }

  private func report(_ result: CommandResult) throws -> [String: Any] {
    #expect(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require(object as? [String: Any])
  }

  @Test(
    "drawn masks hold in both passes, and the report says which",
    arguments: [
      (3, ["--segments", "--causal"], "segments", "Causal attention with segments"),
      (2, ["--cu-seqlens", "--padding", "--layout", "striped"], "segments", "cu_seqlens"),
      (
        4, ["--parallel-windows", "--queries", "300", "--transport", "mesh:2x2"],
        "parallel-windows", "parallel windows"
      ),
      (
        2, ["--structured", "--causal", "--alibi", "--rope", "half"], "parallel-windows",
        "structured prompting"
      ),
      (5, ["--star", "--reproducible", "--segments"], "star", "star"),
    ])
  func drawn(ranks: Int, options: [String], field: String, words: String) async throws {
    let problem = ["--random", "2x803x4x2x24", "--gradients", "--verify"] + options
    let fields = try report(try await attend(problem + ["--report", "json"], ranks: ranks))
    #expect(fields["maxGradientError"] is Double && fields["checkedRows"] as? Int == 32)
    #expect(fields[field] is NSNull == false && fields[field] != nil)
    if ranks < 5 {
      let text = try await attend(problem, ranks: ranks)
      #expect(text.standardOutput.contains(words), "\(text)")
    }
  }

  /// A `.safetensors` file with q, k, v and tensors of whole numbers.
  private func input(
    _ folder: TemporaryFolder, tokens: Int, keyTokens: Int,
    _ tables: [(name: String, type: String, shape: [Int], bytes: [UInt8])]
  ) throws -> String {
    let tensors = [("q", tokens), ("k", keyTokens), ("v", keyTokens)].map {
      TestTensor($0.0, [2, $0.1, 2, 8])
    }
    var (header, data) = (["\"__metadata__\":{}"], [UInt8]())
    func add(_ name: String, _ type: String, _ shape: [Int], _ bytes: [UInt8]) {
      header.append(
        "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(shape),"
          + "\"data_offsets\":[\(data.count),\(data.count + bytes.count)]}")
      data += bytes
    }
    for tensor in tensors {
      add(
        tensor.name, "F32", tensor.shape.dimensions,
        tensor.values.flatMap { number in
          (0..<4).map { UInt8(truncatingIfNeeded: number.bitPattern >> (8 * $0)) }
        })
    }
    for table in tables { add(table.name, table.type, table.shape, table.bytes) }
    let text = "{" + header.joined(separator: ",") + "}"
    let length = (0..<8).map { UInt8(truncatingIfNeeded: text.utf8.count >> (8 * $0)) }
    return try folder.file("input.safetensors", length + Array(text.utf8) + data)
  }

  private func bytes(_ numbers: [Int], _ width: Int) -> [UInt8] {
    numbers.flatMap { number in
      (0..<width).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
  }

  @Test("numbers of the input decide who sees whom, and hosts of a block mask too")
  func numbers() async throws {
    let folder = try TemporaryFolder()
    // Queries 0 to 3 see the keys of their number; key 5 of the first sequence is padding.
    let path = try input(
      folder, tokens: 4, keyTokens: 6,
      [
        ("segment_ids", "I64", [2, 4], bytes([7, 7, 1 << 20, 3, 0, 1, 2, 3], 8)),
        (
          "key_segment_ids", "I32", [2, 6],
          bytes([7, 9, 1 << 20, 1 << 20, 9, 1 << 20, 0, 0, 1, 1, 3, 3], 4)
        ),
        ("key_padding_mask", "BOOL", [2, 6], bytes([1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1], 1)),
      ])
    let blocks = try folder.file(
      "blocks.npy",
      TestTensor.npy("|u1", [2, 2, 3], bytes([1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], 1)))
    let out = folder.path + "/out.safetensors"
    let result = try await attend(
      [
        path, "--segments", "--padding", "--block-mask", blocks, "--output", out, "--verify",
        "--report", "json",
      ], ranks: 3)
    #expect(try report(result)["block-mask"] as? String == blocks)
    let lse = try read(out, "lse")
    #expect(lse.shape == [2, 2, 4])
    // The first sequence: one key for 7, two for 2²⁰ without padding, none for 3; the second head
    // sees nothing from query 2 on.
    let seen = [
      true, true, true, false, true, true, false, false,
      true, true, false, true, true, true, false, false,
    ]
    #expect(lse.values.map(\.isFinite) == seen)
    let (k, v) = (try read(path, "k"), try read(path, "v"))
    #expect(k.shape == [2, 6, 2, 8])
    // Query 0 sees key 0 alone.
    #expect(relativeError(Array(try read(out, "o").values[..<16]), Array(v.values[..<16])) < 1e-6)
  }

  @Test("what the input lacks, or has otherwise, is refused in one sentence on all ranks")
  func refused() async throws {
    let folder = try TemporaryFolder()
    let path = try input(
      folder, tokens: 4, keyTokens: 4,
      [
        ("segment_ids", "I64", [2, 4], bytes([0, 0, 1, 1 << 40, 0, 0, 0, 0], 8)),
        ("cu_seqlens", "I32", [3], bytes([0, 3, 5], 4)),
        ("key_padding_mask", "I32", [2, 4], bytes([1, 1, 1, 1, 1, 1, 1, 1], 4)),
      ])
    let six = try folder.file("six.npy", TestTensor.npy("|u1", [6], bytes([1, 1, 1, 1, 1, 1], 1)))
    let cases: [([String], String)] = [
      (["--segments"], "segment_ids[0, 3] is 1099511627776; number from 0 on"),
      (["--cu-seqlens"], "cu_seqlens ends with 5, and there are 4 tokens"),
      (["--padding"], "key_padding_mask is I32; save it as U8 or BOOL"),
      (["--block-mask", six], "'\(six)': the block mask is [6]; give [blocks, keyBlocks]"),
      (["--block-mask", folder.path + "/none.npy"], "there is no such file"),
    ]
    for (index, (options, words)) in cases.enumerated() {
      let arguments = ["attend", path] + options
      let result =
        index > 1
        ? try await MPIJob.runAlone(program: "gyre", arguments: arguments)
        : try await MPIJob.run(program: "gyre", arguments: arguments, ranks: 3)
      #expect(!result.isSuccess && result.ending != .timedOut, "\(result)")
      let sentences = result.standardError.split(separator: "\n").filter { $0.hasPrefix("gyre: ") }
      #expect(sentences.count == 1 && sentences[0].contains(words), "\(result)")
    }
    let plain = try folder.safetensors(
      [
        TestTensor("q", [1, 4, 2, 8]), TestTensor("k", [1, 4, 2, 8]),
        TestTensor("v", [1, 4, 2, 8]),
      ], name: "plain.safetensors")
    let missing = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend", plain, "--structured"])
    #expect(
      missing.standardError.contains("there is no tensor 'segment_ids' in the file"), "\(missing)")
  }

  @Test(
    "options that do not go together are refused",
    arguments: [
      (["--segments", "--cu-seqlens"], "--segments and --cu-seqlens both say"),
      (["--parallel-windows", "--structured"], "--parallel-windows and --structured both say"),
      (["--window-align", "left"], "--window-align is for --parallel-windows"),
      (["--structured", "--window-align", "left"], "leave --window-align out"),
      (["--padding", "--dilated", "16:1"], "--padding cannot be used with --dilated"),
      (["--star", "--queries", "9"], "--star is of a sequence to itself"),
    ])
  func together(options: [String], words: String) async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend", "--random", "1x64x2x2x16"] + options)
    #expect(!result.isSuccess && result.standardError.contains(words), "\(result)")
  }

  @Test("benchmarks draw masks and say so in their rows")
  func bench() async throws {
    for benchmark in [["kernel", "--repeats", "1"], ["strong", "--ranks", "1", "--repeats", "2"]] {
      let result = try await MPIJob.runAlone(
        program: "gyre",
        arguments: ["bench"] + benchmark + [
          "--segments", "--padding", "--tokens", "64", "--head-dim", "16", "--causal", "true",
          "--format", "json",
        ])
      #expect(result.isSuccess, "\(result)")
      #expect(result.standardOutput.contains("\"segments\":\"segment_ids\""), "\(result)")
      #expect(result.standardOutput.contains("\"padding\":true"), "\(result)")
    }
  }
}

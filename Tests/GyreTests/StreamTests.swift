import Foundation
import Tensors
import TestSupport
import Testing

@Suite("gyre stream")
struct StreamTests {
  private func stream(
    _ arguments: [String], ranks: Int, wrapper: [String] = []
  ) async throws -> CommandResult {
    try await MPIJob.run(
      program: "gyre", arguments: ["stream"] + arguments, ranks: ranks, wrapper: wrapper,
      cleansUp: !wrapper.isEmpty)
  }

  private func json(_ result: CommandResult) throws -> [String: Any] {
    try #require(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require(object as? [String: Any])
  }

  @Test("any number of ranks and threads gives the same bits, and they are right")
  func sameForAllRanks() async throws {
    let arguments = [
      "--random", "2x3000x6x3x16", "--dilated", "64:1,500:3,2048:4,9000:16", "--window", "260",
      "--head-offset", "grouped", "--causal", "--verify", "--report", "json",
    ]
    let one = try json(try await stream(arguments, ranks: 1))
    for (ranks, threads) in [(2, "1"), (3, "2"), (13, "1")] {
      let many = try json(try await stream(arguments + ["--threads", threads], ranks: ranks))
      for name in ["outputDigest", "maxError"] {
        #expect("\(one[name] ?? "")" == "\(many[name] ?? "")", "\(name)")
      }
    }
    #expect(one["checkedRows"] as? Int == 64)
    #expect((one["maxError"] as? Double ?? 1) < 1e-5)
    // 3000 tokens in windows of 260.
    #expect(one["windows"] as? Int == 12 && one["windowsDone"] as? Int == 12)
    #expect(one["resumedWindows"] as? Int == 0)
    #expect(one["branches"] as? String == "64:1,500:3,2048:4,9000:16")
    let other = try json(try await stream(arguments + ["--seed", "1"], ranks: 1))
    #expect(other["outputDigest"] as? String != one["outputDigest"] as? String)
  }

  @Test("the report counts useful flops")
  func flops() async throws {
    let result = try await stream(
      [
        "--random", "1x4096x2x1x8", "--dilated", "geometric:256,2,3", "--causal", "--report",
        "json",
      ],
      ranks: 2)
    // In each branch segments of 256 rows: 16, 8 and 4 of them.
    let pairs = (16 + 8 + 4) * 256 * 257 / 2 * 2
    let report = try json(result)
    #expect(report["flops"] as? Int == pairs * 4 * 8)
    #expect(report["maxError"] is NSNull)
    for name in ["seconds", "computeSeconds", "tokensPerSecond", "flopsPerSecond"] {
      #expect((report[name] as? Double ?? 0) > 0, "\(name)")
    }
  }

  @Test("a file gives what its tensors give")
  func file() async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors([
      TestTensor("q", [2, 137, 4, 20]), TestTensor("k", [2, 137, 2, 20]),
      TestTensor("v", [2, 137, 2, 12]),
    ])
    let result = try await stream(
      [input, "--dilated", "16:1,64:3", "--window", "50", "--verify"], ranks: 2)
    #expect(result.isSuccess && result.standardOutput.contains("passed."), "\(result)")
    #expect(result.standardError.isEmpty)
  }

  @Test("a run that is killed again and again ends with the report of one that is not")
  func resume() async throws {
    let folder = try TemporaryFolder()
    let arguments = [
      "--random", "1x1600000x1x1x8", "--dilated", "geometric:2048,2,12", "--causal", "--verify",
      "--window", "16384", "--report", "json",
    ]
    let whole = try json(try await stream(arguments, ranks: 2))
    let checkpoint = ["--checkpoint", folder.path + "/run"]
    var interruptions = 0
    // Far too short for all of it, and then longer, so that a busy machine comes to an end as well.
    var seconds = 0.6
    var result: CommandResult
    repeat {
      // In turn a signal that can be heard and one that cannot.
      let signal = interruptions % 2 == 0 ? "TERM" : "KILL"
      result = try await stream(
        arguments + checkpoint, ranks: 2,
        wrapper: ["timeout", "--foreground", "-s", signal, "\(seconds)"])
      seconds *= 1.3
      if !result.isSuccess { interruptions += 1 }
    } while !result.isSuccess && interruptions < 50
    #expect(interruptions >= 1)
    let resumed = try json(result)
    #expect((resumed["resumedWindows"] as? Int ?? 0) > 0)
    for name in ["windowsDone", "flops", "checkedRows", "maxError", "outputDigest"] {
      #expect("\(whole[name] ?? 0)" == "\(resumed[name] ?? 0)", "\(name)")
    }
    // All is done, and is only reported again.
    let again = try json(try await stream(arguments + checkpoint, ranks: 2))
    #expect(again["resumedWindows"] as? Int == 98 && again["windows"] as? Int == 98)
    #expect(again["outputDigest"] as? String == whole["outputDigest"] as? String)
    #expect(folder.names == ["run.0", "run.1"])
  }

  @Test("memory is that of a window, whatever the sequence")
  func memory() async throws {
    let result = try await stream(
      [
        "--random", "1x1600000x1x1x8", "--dilated", "geometric:64,4,10", "--window", "65536",
        "--report", "json",
      ], ranks: 2)
    let peak = try #require(try json(result)["peakResidentBytes"] as? Int)
    // q, k, v and o of all tokens would be 205 MB.
    #expect(peak < 96 << 20, "\(peak) bytes")
  }

  @Test("one branch over the whole sequence is read in pieces")
  func longSegment() async throws {
    let result = try await stream(
      [
        "--random", "1x300000x1x1x128", "--dilated", "64:1,300000:8", "--window", "5000",
        "--verify", "--causal", "--report", "json",
      ], ranks: 1)
    let report = try json(result)
    #expect((report["maxError"] as? Double ?? 1) < 1e-5)
    // k and v of the long segment's rows are 38 MB, and would be held twice: 110 MiB in all, beside
    // freed buffers that are kept.
    let peak = try #require(report["peakResidentBytes"] as? Int)
    #expect(peak < (70 << 20) + KeptMappings.mostBytes, "\(peak) bytes")
  }

  @Test(
    "what is wrong with the options is said in a sentence",
    arguments: [
      ("2048", "not a segment length and a dilation rate"),
      ("2048:1,", "not a segment length and a dilation rate"),
      ("0:1", "the segment length 0 is out of range"),
      ("2048:0", "the dilation rate 0 is out of range"),
      ("2199023255552:1", "the segment length 2199023255552 is out of range"),
      ("16:4294967296", "the dilation rate 4294967296 is out of range"),
      ("9223372036854775808:1", "not a segment length and a dilation rate"),
      ("geometric:2048,2", "not a first segment length, a ratio and a number of branches"),
      ("geometric:2048,0,3", "not a first segment length, a ratio and a number of branches"),
      ("geometric:2048,2,65", "65 branches are too many"),
      ("geometric:2048,2,33", "branch 31 of 'geometric:2048,2,33'"),
      ("geometric:1,9223372036854775807,2", "the ratio 9223372036854775807 is out of range"),
    ])
  func branchLists(list: String, sentence: String) async throws {
    let result = try await MPIJob.runAlone(
      program: "gyre", arguments: ["stream", "--random", "1x64x1x1x8", "--dilated", list])
    #expect(!result.isSuccess)
    #expect(result.standardError.contains(sentence), "\(result)")
  }

  @Test("a checkpoint of another run is refused, and what is none")
  func otherCheckpoint() async throws {
    let folder = try TemporaryFolder()
    let run = ["--random", "1x500x1x1x8", "--dilated", "16:1", "--window", "100"]
    func refusal(_ arguments: [String], ranks: Int, _ name: String) async throws -> String {
      let result = try await stream(
        arguments + ["--checkpoint", folder.path + "/" + name], ranks: ranks)
      #expect(!result.isSuccess, "\(result)")
      return result.standardError
    }
    let first = try await stream(run + ["--checkpoint", folder.path + "/run"], ranks: 2)
    #expect(first.isSuccess, "\(first)")
    #expect(
      try await refusal(run + ["--causal"], ranks: 2, "run").contains(
        "is of a run with --causal false, and this one has true; use the same options"))
    #expect(try await refusal(run, ranks: 3, "run").contains("with ranks 2, and this one has 3"))
    _ = try folder.file("none.0", Array("{}".utf8))
    #expect(
      try await refusal(run, ranks: 1, "none").contains("is not a checkpoint of gyre stream"))
    #expect(try await refusal(run, ranks: 1, "no/folder").contains("does not exist"))
  }

  @Test("a checkpoint of an input that was replaced is refused, whatever of it is the same")
  func staleCheckpoint() async throws {
    let folder = try TemporaryFolder()
    func input(_ tokens: Int, seed: UInt64) throws -> String {
      try folder.safetensors(
        ["q", "k", "v"].map { TestTensor($0, [1, tokens, 1, 8], seed: seed) })
    }
    let path = try input(500, seed: 1)
    let run = [
      path, "--dilated", "16:1", "--window", "100", "--checkpoint", folder.path + "/run",
    ]
    #expect(try await stream(run, ranks: 2).isSuccess)
    #expect(try await stream(run, ranks: 2).isSuccess)
    let cases: [(String, () throws -> Void)] = [
      ("its contents are different", { _ = try input(500, seed: 2) }),
      ("bytes and has", { _ = try input(700, seed: 1) }),
      ("it was changed since", { _ = try input(500, seed: 1) }),
    ]
    for (words, replace) in cases {
      try replace()
      let result = try await stream(run, ranks: 2)
      #expect(!result.isSuccess)
      #expect(result.standardError.contains("is of another input"), "\(result)")
      #expect(result.standardError.contains(words), "\(result)")
    }
  }

  @Test("two runs do not share a checkpoint")
  func checkpointInUse() async throws {
    let folder = try TemporaryFolder()
    let gyre = BuiltProducts.executable("gyre")
    let long = "stream --random 1x4000000x1x1x8 --dilated 2048:1 --window 4096"
    let result = try await Command.run(
      "bash",
      arguments: [
        "-c",
        """
        cd "$1"
        "$0" \(long) --checkpoint c & first=$!
        until [ -s c.0 ]; do sleep 0.05; done
        "$0" \(long) --checkpoint ./c
        echo "code $?"
        kill -KILL $first
        wait $first
        "$0" stream --random 1x500x1x1x8 --dilated 2048:1 --window 4096 --checkpoint c
        """, gyre, folder.path,
      ], timeoutSeconds: 60)
    #expect(result.standardOutput.contains("code 1"), "\(result)")
    #expect(result.standardError.contains("'./c.0': another run uses it now"), "\(result)")
    // The lock has died with its owner: what is wrong now is something else.
    #expect(result.standardError.contains("is of a run with input"), "\(result)")
    #expect(folder.names == ["c.0"])
  }

  @Test("what cannot be computed is refused")
  func refusals() async throws {
    let folder = try TemporaryFolder()
    let uneven = try folder.safetensors([
      TestTensor("q", [1, 37, 4, 20]), TestTensor("k", [1, 45, 2, 20]),
      TestTensor("v", [1, 45, 2, 20]),
    ])
    let list = ["--dilated", "16:1"]
    let random = ["--random", "1x64x1x1x8"]
    let cases: [([String], String)] = [
      (list, "There is no input"),
      (random, "--dilated"),
      ([uneven] + random + list, "Give only one input"),
      ([uneven] + list, "there are 37 queries and 45 keys"),
      (random + list + ["--window", "0"], "--window is 0"),
      (random + list + ["--head-offset", "paper"], "modulo"),
      (
        ["--random", "1x1000000000000x1x1x256", "--window", "1000000000000"] + list,
        "make it shorter"
      ),
      (
        ["--random", "1x1000000000x1x1x256", "--window", "1000000000"] + list,
        "make --window smaller"
      ),
    ]
    for (arguments, sentence) in cases {
      let result = try await MPIJob.runAlone(program: "gyre", arguments: ["stream"] + arguments)
      #expect(!result.isSuccess && result.standardError.contains(sentence), "\(result)")
    }
  }
}

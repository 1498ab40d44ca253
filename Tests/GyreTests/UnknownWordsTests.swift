import TestSupport
import Testing

/// What is no command, option or value is named, with what may be meant.
@Suite("Unknown words")
struct UnknownWordsTests {
  private static let random = ["attend", "--random", "1x64x2x2x8"]
  private static let ranks = "the number of ranks goes before the command"

  static let lines: [(arguments: [String], words: [String])] = [
    (random + ["-n", "3"], ["'-n'", ranks]), (random + ["-n3"], ["'-n3'", ranks]),
    (random + ["-np", "3"], ["'-np'", ranks]), (random + ["--np", "3"], ["'--np'", ranks]),
    (["-n", "2"] + random, [ranks]), (["stream", "x", "-n", "2"], ["stream", "'-n'", ranks]),
    (random + ["--hostfile", "hosts"], ["'--hostfile'", "option of mpirun"]),
    (["--mca", "btl", "tcp"] + random, ["'--mca'", "option of mpirun"]),
    (["--causal"] + random, ["'--causal' comes before the command", "gyre attend --causal"]),
    (["gyre"] + random, ["'gyre' is no command", "leave it out"]),
    (["/opt/bin/gyre"] + random, ["'/opt/bin/gyre' is no command", "leave it out"]),
    (["gyer"] + random, ["'gyer' is no command", "leave it out"]),
    (["atend"] + random.dropFirst(), ["no command 'atend'", "'attend'?"]),
    (["Stream"], ["no command 'Stream'", "'stream'?"]), (["docter"], ["'doctor'?"]),
    (["pred", "--tokens", "9"], ["'predict'?"]), (["cmopare", "a", "b"], ["'compare'?"]),
    (["bench", "kernl"], ["no command 'kernl' of bench", "'kernel'?"]),
    (["kernel"], ["'bench kernel'?"]), (["bench", "overlapp"], ["'overlap'?"]),
    (["qkv.safetensors", "--causal"], ["attend qkv.safetensors"]),
    (["frobnicate"], ["no command 'frobnicate'", "attend, stream, mix, bench"]),
    (random + ["--causl"], ["'--causl'", "--causal?"]),
    (random + ["-causal"], ["'-causal'", "--causal?"]),
    (random + ["–causal"], ["'–causal'", "--causal?"]),
    (random + ["--Causal"], ["--causal?"]), (random + ["--thread=2"], ["--threads?"]),
    (random + ["--ranks_per_host", "2"], ["--ranks-per-host?"]),
    (random + ["--grad"], ["--gradients?"]),
    (random + ["-o", "out.safetensors"], ["'-o'", "--output or --overlap?"]),
    (["attend", "-q", "q.npy"], ["'-q'", "--q?"]),
    (random + ["--no-overlpa"], ["--no-overlap?"]),
    (random + ["--tokens", "5"], ["'--tokens'", "bench strong", "predict", "of --random."]),
    (["generate", "m.gguf", "--tokens", "5"], ["do you mean --max-tokens?"]),
    (["attend", "--input", "x"], ["give the input itself, as in attend INPUT."]),
    (["help", "kernel"], ["no command 'kernel'; do you mean 'bench kernel'?"]),
    (random + ["--threads", "two"], ["'two' is invalid for '--threads <n>': give a number."]),
    (random + ["--threads", "1.5"], [": give a whole number."]),
    (random + ["--seed", "-1"], ["'-1' is invalid for '--seed <seed>': give a number from 0 on."]),
    (["bench", "kernel", "--token", "5"], ["bench kernel has no option", "--tokens?"]),
    (["predict", "--netwrok", "10gbit"], ["predict has no option", "--network?"]),
    (["doctor", "--raport", "json"], ["--report?"]), (["plot", "--knid", "x", "y"], ["--kind?"]),
    (random + ["--frobnicate"], ["'--frobnicate'", "leave it out"]),
    (random + ["--transport", "sharde"], ["'sharde'", "'ring', 'shared'", "'shared'?"]),
    (random + ["--transport", "mehs:2x1"], ["'mehs:2x1'", "'mesh:2x1'?"]),
    (random + ["--layout", "ZigZag"], ["'zigzag'?"]), (random + ["--wire", "bf61"], ["'bf16'?"]),
    (random + ["--report", "jsn"], ["'json'?"]),
    (random + ["--gradients", "--backward-route", "qurey"], ["'query'?"]),
    (random + ["--dilated", "8:1", "--placement", "unit"], ["'units'?"]),
    (random + ["--dilated", "8:1", "--head-offset", "group"], ["'grouped'?"]),
    (["attend", "x", "--input-layout", "bhds"], ["'bhsd'?"]),
    (["bench", "strong", "--transport", "ring,sharde"], ["'shared'?"]),
    (["bench", "kernel", "--pass", "backwards"], ["'backward'?"]),
    (["predict", "--transport", "rign", "--tokens", "9"], ["'ring'?"]),
  ]

  @Test("are named with what may be meant", arguments: lines)
  func named(arguments: [String], words: [String]) async throws {
    let result = try await MPIJob.runAlone(program: "gyre", arguments: arguments)
    #expect(result.ending == .exited(64), "\(result)")
    let lines = result.standardError.split(separator: "\n")
    #expect(lines.count == 1 && lines.first?.hasPrefix("gyre: ") == true, "\(result)")
    for word in words {
      #expect(result.standardError.contains(word), "'\(word)' is not in \(result)")
    }
  }

  @Test("are named once by a job, and with where they come from")
  func inAJob() async throws {
    for (arguments, environment, words) in [
      (["atend"], [:], ["'attend'?"]), (Self.random + ["-n", "3"], [:], [Self.ranks]),
      (
        Self.random, ["GYRE_TRANSPORT": "sharde"],
        ["'shared'?", "--transport comes from GYRE_TRANSPORT."]
      ),
    ] as [([String], [String: String], [String])] {
      let result = try await MPIJob.run(
        program: "gyre", arguments: arguments, ranks: 3, environment: environment)
      #expect(result.ending == .exited(64), "\(result)")
      let sentences = result.standardError.split(separator: "\n").filter { $0.hasPrefix("gyre: ") }
      #expect(sentences.count == 1, "\(result)")
      for word in words { #expect(sentences.first?.contains(word) == true, "\(result)") }
    }
  }

  @Test("several inputs, and --do for none of them, are named")
  func inputs() async throws {
    for (arguments, words) in [
      (Self.random + ["3"], ["the input file '3'", "--random 1x64x2x2x8"]),
      (["attend", "a", "--q", "b", "--v", "c"], ["the input file 'a'", "--q, --v"]),
      (
        ["attend", "a.safetensors", "--do", "b"],
        ["'a.safetensors' has a do of its own", "--do out"]
      ),
      (Self.random + ["--gradients", "--do", "b"], ["--random 1x64x2x2x8 has a do of its own"]),
      (["stream", "a", "--random", "1x8x2x2x8", "--dilated", "8:1"], ["the input file 'a'"]),
      (Self.random + ["--input-layout", "bhsd"], ["--input-layout", "--random"]),
      (Self.random + ["--names", "q=x"], ["--names", "--random"]),
      (["attend", "--q", "a", "--k", "b", "--v", "c", "--names", "q=x"], ["--names", ".npy"]),
      (["attend", "a", "--names", "x=y"], ["q=query"]),
      (["attend", "a", "--names", "q=x,q=y"], ["'q' has two names"]),
    ] {
      let result = try await MPIJob.runAlone(program: "gyre", arguments: arguments)
      #expect(result.ending == .exited(64), "\(result)")
      for word in words { #expect(result.standardError.contains(word), "\(result)") }
    }
  }
}

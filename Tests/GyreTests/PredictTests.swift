import Foundation
import TestSupport
import Testing

/// What gyre predict says of jobs whose times follow from their numbers.
@Suite("gyre predict")
struct PredictTests {
  private let machines = ["--flops", "100G", "--network", "10gbit", "--network-latency", "5us"]

  private func predict(_ arguments: [String]) async throws -> CommandResult {
    try await MPIJob.runAlone(program: "gyre", arguments: ["predict"] + arguments)
  }

  private func rows(_ result: CommandResult) throws -> [[String: Any]] {
    #expect(result.isSuccess, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
    return try #require((object as? [String: Any])?["results"] as? [[String: Any]])
  }

  @Test("a job that hides its transfers takes its flops")
  func hidden() async throws {
    let rows = try rows(
      try await predict(
        machines + [
          "--tokens", "64K", "--heads", "4", "--ranks", "1,8", "--transport", "ring,hierarchical",
          "--format", "json",
        ]))
    #expect(rows.count == 4)
    let flops = 4.0 * 64 * 4 * 65536 * 65536
    for row in rows {
      let ranks = try #require(row["ranks"] as? Double)
      let seconds = try #require(row["seconds"] as? Double)
      #expect(abs(seconds * ranks * 1e11 / flops - 1) < 1e-9, "\(row)")
      #expect(row["limit"] as? String == "none")
    }
    let bytes: Double = 7 * 8192 * 4 * 128 * 4
    #expect(rows.last?["bytesSentPerRank"] as? Double == bytes)
  }

  @Test("windows cost what they see and send what others see of blocks")
  func window() async throws {
    let rows = try rows(
      try await predict(
        machines + [
          "--tokens-per-rank", "4096", "--heads", "4", "--ranks", "2,1024", "--causal", "--window",
          "513", "--sinks", "4", "--format", "json",
        ]))
    #expect(rows.map { $0["layout"] as? String } == ["contiguous", "contiguous"])
    // Of each token 4 heads of a key and a value; sinks go further, from rank 0.
    let bytes = rows.compactMap { $0["bytesSentPerRank"] as? Double }
    #expect(bytes.last == Double((512 + 4) * 4 * 128 * 4), "\(bytes)")
    let flops = try #require(rows.last?["flops"] as? Double)
    let pairs = 4096.0 * 1024 * 517
    #expect(abs(flops / (4 * 64 * 4 * pairs) - 1) < 0.001, "\(flops)")
    for (arguments, words) in [
      (
        ["--ranks", "5000", "--tokens", "1M", "--window", "9"], "up to 4,096 ranks; leave 5,000 out"
      ),
      (["--ranks", "2", "--tokens", "9", "--window", "9", "--globals", "9"], "names token 9"),
      (["--ranks", "2", "--tokens", "64", "--window", "9", "--dilated", "8:1"], "cannot be used"),
    ] {
      let refused = try await predict(machines + arguments)
      #expect(refused.ending == .exited(64), "\(refused)")
      #expect(refused.standardError.contains(words), "\(refused)")
    }
  }

  @Test("runs under a window are compared too, in whatever layout")
  func checkWindow() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/strong.json"
    let measured = try await MPIJob.run(
      program: "gyre",
      arguments: [
        "bench", "strong", "--tokens", "301", "--heads", "2", "--head-dim", "16", "--causal",
        "true",
        "--window", "32", "--layout", "balanced", "--transport", "ring", "--repeats", "1",
        "--format",
        "json",
      ], ranks: 2)
    #expect(measured.isSuccess, "\(measured)")
    try Data(measured.standardOutput.utf8).write(to: URL(filePath: path))
    let rows = try rows(try await predict(machines + ["--check", path, "--format", "json"]))
    #expect(rows.count == 4 && rows.allSatisfy { $0["window"] as? Int == 32 }, "\(rows)")
  }

  @Test("assumptions are said with the answer")
  func assumptions() async throws {
    let result = try await predict(
      machines + ["--tokens", "4096", "--ranks", "4", "--ranks-per-host", "2", "--noise", "0.02"])
    #expect(result.isSuccess, "\(result)")
    for words in ["100 GFLOP/s", "1.25 GB/s", "5.00 µs", "2 ranks of 1 thread", "vary by 2.0 %"] {
      #expect(result.standardOutput.contains(words), "\(words) in \(result.standardOutput)")
    }
  }

  @Test("a results file gives the speeds")
  func measuredSpeeds() async throws {
    let folder = try TemporaryFolder()
    let kernel = folder.path + "/kernel.json"
    let measured = try await MPIJob.runAlone(
      program: "gyre",
      arguments: [
        "bench", "kernel", "--tokens", "64,128", "--repeats", "1", "--head-dim", "16", "--format",
        "json",
      ])
    try Data(measured.standardOutput.utf8).write(to: URL(filePath: kernel))
    let rows = try rows(
      try await predict([
        "--results", kernel, "--tokens", "128", "--ranks", "1", "--head-dim", "16", "--network",
        "1gbit", "--heads", "2", "--format", "json",
      ]))
    let object = try JSONSerialization.jsonObject(with: Data(measured.standardOutput.utf8))
    let speeds = try #require((object as? [String: Any])?["results"] as? [[String: Any]])
    let speed = speeds.first {
      $0["pass"] as? String == "forward" && $0["causal"] as? Bool == false
        && $0["tokens"] as? Int == 128
    }
    let expected = 4.0 * 16 * 2 * 128 * 128 / (speed?["flopsPerSecond"] as? Double ?? 0)
    #expect(abs((rows[0]["seconds"] as? Double ?? 0) / expected - 1) < 1e-6)
  }

  @Test("LongNet's placements are predicted from their plans")
  func dilated() async throws {
    let rows = try rows(
      try await predict(
        machines + [
          "--tokens", "64K", "--dilated", "geometric:2048,2,6", "--ranks", "8", "--heads", "1",
          "--format", "json",
        ]))
    #expect(rows.compactMap { $0["transport"] as? String } == ["sequence", "units", "rate"])
    #expect(rows.allSatisfy { ($0["seconds"] as? Double ?? 0) > 0 })
    let flops = Set(rows.compactMap { $0["flops"] as? Double })
    #expect(flops.count == 1)
    // Full segments of w tokens select w/r rows each: Σ N/w · (w/r)² · 4 · 64.
    let pairs = (0..<6).reduce(0.0) { sum, power in
      let length = 2048.0 * Double(1 << power)
      return sum + 65536 / length * 2048 * 2048
    }
    #expect(flops.first == pairs * 256)
  }

  @Test("runs are compared with what the model says of them, fitted and unseen")
  func check() async throws {
    let folder = try TemporaryFolder()
    func file(_ name: String, ranks: [Int], factor: Double) throws -> String {
      let rows = ranks.map { ranks in
        // Seconds of 2 · ranks thousand tokens at 50 GFLOP/s.
        """
        {"pass":"forward","ranks":\(ranks),"hosts":\(ranks),"threads":1,"tokens":\(2000 * ranks),\
        "tokensPerRank":2000,"queryHeads":4,"kvHeads":4,"headDim":64,"causal":false,\
        "layout":"contiguous","transport":"ring","wire":"f32",\
        "seconds":\(factor * 4 * 256 * 4e6 * Double(ranks) / 50e9)}
        """
      }
      let text = """
        {"benchmark":"weak","environment":{"cores":8},"keys":["ranks"],\
        "results":[\(rows.joined(separator: ","))]}
        """
      let path = folder.path + "/" + name
      try Data(text.utf8).write(to: URL(filePath: path))
      return path
    }
    let fit = try file("fit.json", ranks: [1, 2, 4], factor: 1)
    let unseen = try file("unseen.json", ranks: [3, 5], factor: 1.1)
    let result = try await predict(
      machines + ["--check", unseen, "--fit", fit, "--format", "json"])
    let rows = try rows(result)
    #expect(rows.count == 5)
    for row in rows {
      let error = try #require(row["error"] as? Double)
      let expected = row["fitted"] as? Bool == true ? 0 : 1 / 1.1 - 1
      #expect(abs(error - expected) < 0.01, "\(row)")
    }
    // The runs themselves tell how fast the machines are.
    let alone = try await predict(["--check", unseen, "--fit", fit])
    #expect(alone.isSuccess, "\(alone)")
    #expect(
      alone.standardOutput.contains(
        "Taken: the kernel's speed of 1 of the fitted runs, on 1 rank; links between hosts at the "
          + "rate that a run notes"), "\(alone)")
    #expect(alone.standardOutput.contains(/2 unseen runs: mean error [89]\.[0-9] %/), "\(alone)")
    let checked = try await predict(["--check", fit])
    #expect(checked.standardOutput.contains("of 1 of the checked runs, on 1 rank"), "\(checked)")
    let odd = try file("odd.json", ranks: [0, -1], factor: 1)
    #expect(try await predict(["--check", odd]).standardError.contains("no runs"))
    let text = try await predict(machines + ["--check", unseen, "--fit", fit])
    #expect(!text.standardOutput.contains("the machines vary"), "\(text)")
    #expect(text.standardOutput.contains("2 unseen runs: mean error "), "\(text)")
  }

  @Test(
    "mistakes are refused in one sentence",
    arguments: [
      ([], "--tokens"), (["--tokens", "100", "--ranks", "101"], "101"),
      (["--tokens", "4K", "--transport", "ring,auto"], "auto"),
      (["--tokens", "4K", "--transport", "allgather"], "allgather"),
      (
        ["--tokens", "4K", "--transport", "shared", "--ranks", "4"], "ring, query, heads serve any"
      ),
      (["--tokens", "4K", "--transport", "mesh:3x1", "--ranks", "4"], "multiples of 3 ranks"),
      (["--tokens", "4K", "--flops", "80"], "--flops 80G"),
      (["--tokens", "4K", "--network", "10"], "--network 100gbit"),
      (["--tokens", "4K", "--network", "0"], "--network 100gbit"),
      (["--tokens", "4K", "--inside", "99"], "--inside 100gbit"),
      (["--tokens", "4K", "--network-latency", "5"], "--network-latency 2us"),
      (["--tokens", "4K", "--inside-latency", "1e300"], "--inside-latency 2us"),
      (["--tokens", "4K", "--network-work", "0.3"], "--network-work 0.3ns"),
      (["--tokens", "4K", "--flops", "1e308P"], "1e308P"),
      (["--tokens", "4K", "--ranks", "4", "--hosts", "3", "--ranks-per-host", "4"], "3 hosts"),
      (["--tokens", "4K", "--ranks", "2", "--hosts", "3"], "--hosts"),
      (["--tokens", "4K", "--hosts", "1000", "--ranks-per-host", "1000"], "100,000"),
      (["--tokens", "4K", "--hosts", "100000", "--ranks-per-host", "1000000"], "100,000"),
      (["--tokens", "4K", "--columns", "tempo"], "tempo"),
      // What no integer holds.
      (["--tokens-per-rank", "1024G", "--ranks", "100000"], "2^40"),
      (["--tokens-per-rank", "1125899906842624", "--ranks", "100000"], "2^40"),
      (["--tokens", "9223372036854775807G"], "2^40"),
      (["--tokens", "4K", "--heads", "9223372036854775807"], "--heads"),
      (["--tokens", "1024G", "--heads", "60000", "--head-dim", "256"], "--heads"),
      (["--tokens", "1024G", "--dilated", "1099511627776:1"], "pairs"),
      (["--tokens", "1024G", "--dilated", "16:4"], "segments"),
      (["--tokens", "4K", "--transport", "mesh"], "mesh:8x4"),
      (["--tokens", "4K", "--noise", "2"], "--noise"),
      (["--tokens", "4K", "--crowding", "30"], "--crowding"),
      (["--tokens", "4K", "--memory", "80"], "--memory 100gbit"),
      (["--tokens", "4K", "--network", "fast"], "fast"),
      (["--tokens", "4K", "--fit", "x.json"], "--check"),
      (["--tokens", "4K", "--simgrid", "x"], "--simgrid"),
      (["--tokens", "1M", "--dilated", "2048:1", "--ranks", "2000"], "2000"),
      (["--tokens", "1M", "--dilated", "2048:1", "--arithmetic", "bf16"], "--dilated"),
    ])
  func mistakes(arguments: [String], words: String) async throws {
    let result = try await predict(machines + arguments)
    #expect(result.ending == .exited(64), "\(result)")
    #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
    #expect(result.standardError.contains(words), "\(result)")
  }

  @Test("the largest numbers that are taken are counted without a trap")
  func large() async throws {
    let slow = ["--flops", "1M", "--network", "8kbit"]
    let numbers = [
      "--tokens", "1024G", "--heads", "200", "--head-dim", "256", "--pass", "backward",
    ]
    for more in [
      ["--ranks", "1,7", "--transport", "all", "--causal"],
      ["--hosts", "2", "--ranks-per-host", "3", "--transport", "all"],
    ] {
      let result = try await predict(slow + numbers + more)
      #expect(result.isSuccess, "\(result)")
    }
    let dilated = try await predict(
      slow + ["--tokens", "1024G", "--dilated", "2097152:2097152", "--ranks", "3", "--heads", "1"])
    #expect(dilated.isSuccess, "\(dilated)")
  }

  @Test("hosts stand for their ranks, or share them")
  func hosts() async throws {
    let full = try rows(
      try await predict(
        machines + [
          "--tokens", "64K", "--hosts", "1,3", "--ranks-per-host", "4", "--format", "json",
        ]))
    #expect(
      full.map { $0["ranks"] as? Int } == [4, 12] && full.map { $0["hosts"] as? Int } == [1, 3])
    let shared = try rows(
      try await predict(
        machines + ["--tokens", "64K", "--hosts", "3", "--ranks", "8", "--format", "json"]))
    #expect(shared.map { $0["ranks"] as? Int } == [8] && shared.map { $0["hosts"] as? Int } == [3])
  }

  @Test("all transports are compared, auto is the fastest of them, and a last line says which")
  func fastest() async throws {
    let problem = machines + ["--tokens", "8K", "--hosts", "1,2,4", "--ranks-per-host", "4"]
    let all = try rows(
      try await predict(problem + ["--transport", "all", "--format", "json"]))
    let names = { (rows: [[String: Any]]) in Set(rows.compactMap { $0["transport"] as? String }) }
    #expect(names(all) == ["ring", "shared", "query", "heads", "hierarchical", "mesh:4xB"])
    // One host has shared memory too.
    let count = 6 + 5 + 5
    #expect(all.count == count)
    let auto = try rows(
      try await predict(problem + ["--transport", "auto", "--format", "json"]))
    #expect(auto.count == 3)
    for row in auto {
      let seconds = try #require(row["seconds"] as? Double)
      let others = all.filter { $0["ranks"] as? Int == row["ranks"] as? Int }
      #expect(others.allSatisfy { ($0["seconds"] as? Double ?? 0) >= seconds * 0.9995 })
    }
    let text = try await predict(
      machines + ["--tokens", "8K", "--ranks", "2,64", "--heads", "2", "--transport", "ring,heads"])
    let last = try #require(text.standardOutput.split(separator: "\n").last)
    #expect(last.hasPrefix("Fastest: ") && last.contains(" on "), "\(text)")
    #expect(text.standardOutput.contains("\nLost to heads: fewer heads than ranks"), "\(text)")
    let part = try await predict(
      machines + ["--tokens", "8K", "--ranks", "4,6", "--transport", "ring,mesh:4x1"])
    #expect(part.standardOutput.contains("multiples of 4 ranks, and not 6."), "\(part)")
  }

  @Test("what nobody has measured is called a guess, and an efficiency above 100 % explained")
  func guesses() async throws {
    let folder = try TemporaryFolder()
    let file = folder.path + "/kernel.json"
    let points = [(1024, 60e9), (8192, 50e9)].map { tokens, speed in
      """
      {"pass":"forward","headDim":64,"tokens":\(tokens),"queries":\(tokens),"queryHeads":1,\
      "kvHeads":1,"causal":false,"dtype":"f32","threads":1,"reproducible":false,"seconds":1,\
      "flopsPerSecond":\(speed)}
      """
    }
    try """
    {"benchmark":"kernel","environment":{},"keys":["tokens"],"results":[\(points.joined(separator: ","))]}
    """.write(toFile: file, atomically: true, encoding: .utf8)
    let job = ["--results", file, "--network", "100gbit", "--tokens", "8K", "--ranks", "1,8"]
    let known = try await predict(job)
    #expect(!known.standardOutput.contains("Guesses"), "\(known)")
    #expect(known.standardOutput.contains("Efficiency above 100 %: blocks "), "\(known)")
    let guessed = try await predict(
      job + ["--head-dim", "80", "--pass", "backward", "--ranks-per-host", "2"])
    let line = try #require(
      guessed.standardOutput.split(separator: "\n").first { $0.hasPrefix("Guesses: ") })
    #expect(line.contains("no kernel of head dim 80 was measured, and the speed is that of 64"))
    #expect(line.contains("the kernel's backward pass is as fast as the other"))
    #expect(line.contains("nothing is known of links inside a host"))
    #expect(line.contains("cores of a host do not slow each other down"))
  }

  @Test("cores at work together take what was measured of them, or given")
  func crowdedCores() async throws {
    let folder = try TemporaryFolder()
    let file = folder.path + "/kernel.json"
    // Four copies take 1.25 times as long on average, and the slowest twice; memory is no limit.
    let measured = [(1, 60e9, 60e9, 10e9), (4, 48e9, 30e9, 1e15)].map {
      copies, mean, slowest, memory in
      """
      {"pass":"forward","headDim":64,"tokens":1024,"queries":1024,"queryHeads":1,"kvHeads":1,\
      "causal":false,"dtype":"f32","threads":1,"reproducible":false,"copies":\(copies),"seconds":1,\
      "flopsPerSecond":\(mean),"slowestFlopsPerSecond":\(slowest),\
      "memoryBandwidthBytesPerSecond":\(memory)}
      """
    }
    try """
    {"benchmark":"kernel","environment":{},"keys":["pass","tokens","copies"],\
    "results":[\(measured.joined(separator: ","))]}
    """.write(toFile: file, atomically: true, encoding: .utf8)
    func seconds(_ more: String...) async throws -> Double {
      let job = ["--results", file, "--network", "1000gbit", "--tokens", "8K", "--format", "json"]
      let predicted = try rows(try await predict(job + more))
      return try #require(predicted.first?["seconds"] as? Double)
    }
    let alone = try await seconds("--ranks", "1")
    let four = try await seconds("--ranks", "4", "--ranks-per-host", "4")
    #expect(abs(four * 4 / alone - 2) < 0.01)
    let threads = try await seconds("--ranks", "1", "--threads", "4")
    #expect(abs(threads * 4 / alone - 1.25) < 0.01)
    let given = try await seconds("--ranks", "4", "--ranks-per-host", "4", "--crowding", "0.5")
    #expect(abs(given * 4 / alone - 1.5) < 0.01)
    let slow = try await seconds("--ranks", "4", "--ranks-per-host", "4", "--memory", "100MB/s")
    #expect(slow > 2 * four)
    let text = try await predict([
      "--results", file, "--network", "1gbit", "--tokens", "8K", "--ranks-per-host", "4",
    ])
    #expect(text.standardOutput.contains("a thread takes 2.00 times as long"), "\(text)")
  }

  @Test("what is not known is asked for")
  func unknownSpeeds() async throws {
    let kernel = try await predict(["--tokens", "4K", "--network", "1gbit"])
    #expect(kernel.standardError.contains("--flops"), "\(kernel)")
    let network = try await predict(["--tokens", "4K", "--flops", "1G"])
    #expect(network.standardError.contains("--network"), "\(network)")
    let missing = try await predict(["--tokens", "4K", "--results", "/nowhere.json"])
    #expect(missing.standardError.contains("/nowhere.json"), "\(missing)")
  }
}

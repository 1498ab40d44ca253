import Foundation
import TestSupport
import Testing

private let hasGnuplot = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
  .contains { FileManager.default.isExecutableFile(atPath: "\($0)/gnuplot") }

private func plot(_ arguments: [String]) async throws -> CommandResult {
  try await MPIJob.runAlone(program: "gyre", arguments: ["plot"] + arguments)
}

/// That every kind of figure is drawn, with its data in it; how it looks only eyes can tell.
@Suite(
  "gyre plot",
  .enabled(if: hasGnuplot, "gnuplot is not in PATH; install it with apt-get install gnuplot-nox"))
struct PlotTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func picture(_ name: String) throws -> String {
    String(decoding: try folder.bytes(name), as: UTF8.self)
  }

  @Test(
    "each kind shows its axes, legend and data",
    arguments: [
      ("strong", "", ["Speedup over one rank", "ideal", "waiting for blocks"], 6 + 5),
      ("weak", "", ["efficiency", "ideal", "contention taken out"], 3 + 1 + 2),
      ("overlap", "", ["without overlap", "90 % hidden", "4,096 tokens"], 9 + 2),
      ("kernel", "", ["attainable", "multiply–adds: 120 GFLOP/s", "memory: 20.0 GB/s"], 3 + 3),
      ("kernel", "kernel", ["multiply–add peak", "66 %"], 3 + 3),
      ("longnet", "", ["tokens of the sequence", "time ∝ N²"], 3 + 2 + 2),
      ("mix", "", ["Operators as sequences grow", "time ∝ N"], 3 + 2 + 2),
      ("memory", "", ["formula", "16 MiB"], 3 + 3),
      ("link", "", ["limit of the link", "1 GB/s", "16 KiB"], 3 + 2),
    ])
  func kinds(benchmark: String, kind: String, words: [String], points: Int) async throws {
    let isScaling = ["strong", "weak"].contains(benchmark)
    let text =
      isScaling
      ? try ResultsFixture.scaling(benchmark, ranks: [1, 2, 5])
      : try ResultsFixture.other(benchmark)
    let file = try folder.text("in.json", text)
    let output = folder.path + "/figure.svg"
    let result = try await plot(
      [file, "--output", output, "--keep"] + (kind.isEmpty ? [] : ["--kind", kind]))
    #expect(result.isSuccess, "\(result)")
    let svg = try picture("figure.svg")
    #expect(svg.hasPrefix("<?xml") && svg.contains("</svg>"), "\(svg.prefix(200))")
    // Spaces of a text are kept by no-break ones.
    let plain = svg.split(separator: "\u{A0}", omittingEmptySubsequences: false)
      .joined(separator: " ")
    for word in words + ["Made-up 9000"] { #expect(plain.contains(word), "\(word)") }
    let data = try picture("figure.csv").split(separator: "\n")
    // Tokens per rank follow from the tokens: the rows are one series.
    if benchmark == "memory" { #expect(data[1...3].allSatisfy { $0.hasPrefix("1,1,measured,") }) }
    #expect(data.first == "panel,series,label,x,y,low,high,left,right,base")
    #expect(data.count == 1 + points, "\(data)")
  }

  @Test("data are those of the rows, with error bars from the intervals")
  func data() async throws {
    let file = try folder.text("in.json", try ResultsFixture.other("longnet"))
    let result = try await plot([file, "--output", folder.path + "/a.svg", "--keep"])
    #expect(result.isSuccess, "\(result)")
    let rows = try picture("a.csv").split(separator: "\n").dropFirst()
      .map { $0.split(separator: ",", omittingEmptySubsequences: false) }
    for (row, (tokens, seconds)) in zip(rows, [(1024.0, 1.0), (4096, 16), (16384, 256)]) {
      let numbers = row[3...6].compactMap { Double($0) }
      for (number, expected) in zip(numbers, [tokens, seconds, seconds * 0.99, seconds * 1.01]) {
        #expect(abs(number - expected) <= 1e-9 * expected, "\(row)")
      }
    }
  }

  @Test("the kept script draws the same figure again")
  func keptScript() async throws {
    let file = try folder.text(
      "in.json", try ResultsFixture.scaling("weak", ranks: [1, 2, 3, 5, 8]))
    let result = try await plot([file, "--output", folder.path + "/a.svg", "--keep"])
    #expect(result.isSuccess, "\(result)")
    #expect(folder.names == ["a.csv", "a.gp", "a.svg", "in.json"])
    let first = try folder.bytes("a.svg")
    try FileManager.default.removeItem(atPath: folder.path + "/a.svg")
    let again = try await Command.run(
      "sh", arguments: ["-c", "cd \"$1\" && gnuplot a.gp", "sh", folder.path], timeoutSeconds: 30)
    #expect(again.isSuccess, "\(again)")
    #expect(try folder.bytes("a.svg") == first)
  }

  @Test("PNG and PDF, and nothing but the picture without --keep")
  func formats() async throws {
    let file = try folder.text("in.json", try ResultsFixture.scaling("strong", ranks: [4]))
    for (name, header) in [("a.png", [0x89, 0x50, 0x4E, 0x47]), ("b.pdf", Array("%PDF".utf8))] {
      let result = try await plot([file, "--output", folder.path + "/" + name, "--dark"])
      #expect(result.isSuccess, "\(result)")
      #expect(try Array(folder.bytes(name).prefix(4)) == header)
    }
    #expect(folder.names == ["a.png", "b.pdf", "in.json"])
  }

  @Test("names and titles mean nothing to gnuplot")
  func escapes() async throws {
    let odd = "|a_{b}^c 'x' `touch gone` \"y\" \\n 100 % @z"
    let text = try ResultsFixture.scaling(
      "strong", ranks: [1, 2], transports: [odd, "second_one"])
    let file = try folder.text("in.json", text)
    let result = try await plot(
      [file, "--output", "\(folder.path)/\(odd).svg", "--title", odd, "--keep"])
    #expect(result.isSuccess, "\(result)")
    #expect(folder.names == ["in.json", odd + ".csv", odd + ".gp", odd + ".svg"].sorted())
    let svg = try picture(odd + ".svg")
    #expect(svg.contains("second_one"))
    #expect(svg.contains("|a_{b}^c"), "\(svg.prefix(3000))")
  }

  @Test("files are named by what differs between them")
  func severalFiles() async throws {
    let one = try folder.text("one.json", try ResultsFixture.scaling("weak", ranks: [1, 2]))
    let commit = try ResultsFixture.scaling(
      "weak", ranks: [1, 2], environment: ["commit": "fedcba9876543210"])
    let two = try folder.text("two.json", commit)
    let same = try folder.text("same.json", try ResultsFixture.scaling("weak", ranks: [1, 2]))
    for (files, labels) in [
      ([one, two], ["commit 012345678", "commit fedcba987"]),
      ([one, same], ["one.json", "same.json"]),
    ] {
      let result = try await plot(files + ["--output", folder.path + "/a.svg", "--keep"])
      #expect(result.isSuccess, "\(result)")
      let data = try picture("a.csv")
      for label in labels { #expect(data.contains(label), "\(data)") }
    }
  }

  @Test("many series and six decades are drawn")
  func many() async throws {
    let text = try ResultsFixture.scaling(
      "strong", ranks: [1, 2, 3, 5, 8, 1_000_000], transports: (1...12).map { "transport\($0)" })
    let result = try await plot(
      [try folder.text("in.json", text), "--output", folder.path + "/a.svg"])
    #expect(result.isSuccess, "\(result)")
    let svg = try picture("a.svg")
    for number in 1...12 { #expect(svg.contains(">transport\(number)<"), "\(number)") }
    #expect(svg.contains("1,000,000"))
  }
}

/// What is refused, also without gnuplot.
@Suite("gyre plot, refusals")
struct PlotRefusalTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func expect(
    _ arguments: [String], words: String, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let before = folder.names
    let result = try await plot(arguments)
    #expect(!result.isSuccess, "\(result)", sourceLocation: sourceLocation)
    #expect(
      result.standardError.split(separator: "\n").count == 1, "\(result)",
      sourceLocation: sourceLocation)
    #expect(result.standardError.contains(words), "\(result)", sourceLocation: sourceLocation)
    #expect(folder.names == before, sourceLocation: sourceLocation)
  }

  @Test("files, kinds and outputs that do not fit")
  func mistakes() async throws {
    let strong = try folder.text("strong.json", try ResultsFixture.scaling("strong", ranks: [1]))
    let memory = try folder.text("memory.json", try ResultsFixture.other("memory"))
    let foreign = try folder.text(
      "foreign.json", try ResultsFixture.text("tea", keys: [], [["seconds": 1]]))
    let null = try folder.text(
      "null.json",
      try ResultsFixture.text("weak", keys: ["ranks"], [["ranks": 1, "seconds": NSNull()]]))
    let output = ["--output", folder.path + "/a.svg"]
    try await expect([strong, "--output", folder.path + "/a.gif"], words: ".svg, .png or .pdf")
    try await expect([strong, memory] + output, words: "choose one with --kind")
    try await expect([strong, "--kind", "memory"] + output, words: "leave --kind out")
    try await expect([foreign] + output, words: "no figure for the benchmark tea")
    try await expect([null] + output, words: "no row has all of ranks, seconds, efficiency")
    try await expect([folder.path + "/none.json"] + output, words: "there is no file")
  }

  @Test("a gnuplot that is missing or fails: the remedy, or its own words")
  func gnuplot() async throws {
    let file = try folder.text("in.json", try ResultsFixture.scaling("strong", ranks: [1, 2]))
    let fake = try folder.text(
      "gnuplot", "#!/bin/sh\necho 'line 7: no such terminal' >&2\nexit 3\n")
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: fake)
    for (path, words) in [
      ("/proc/none", "apt-get install gnuplot-nox"), (folder.path, "line 7: no such terminal"),
    ] {
      let before = folder.names
      let result = try await Command.run(
        "env",
        arguments: [
          "PATH=\(path)", BuiltProducts.executable("gyre"), "plot", file, "--output",
          folder.path + "/a.svg", "--keep",
        ], timeoutSeconds: 30)
      #expect(result.ending == .exited(1), "\(result)")
      #expect(result.standardError.contains(words), "\(result)")
      #expect(folder.names == before)
    }
  }
}

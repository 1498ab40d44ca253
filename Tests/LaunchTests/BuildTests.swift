import Foundation
import TestSupport
import Testing

/// When the scripts build, and what they do where that cannot be, in a copy of the package that has
/// a script for gyre.
@Suite struct BuildTests {
  /// A package with `Launch`, one source and a built gyre that is newer.
  private struct Package {
    let folder: TemporaryFolder

    init() throws {
      folder = try TemporaryFolder()
      let outcome = try Script.run(
        "/bin/bash",
        [
          "-c",
          """
          cp -r Launch "$0" && cd "$0"
          mkdir -p Sources/gyre .build/release bin
          touch Package.swift Sources/gyre/Gyre.swift
          printf '#!/bin/sh\\necho "the built one"\\n' >.build/release/gyre
          printf '#!/bin/sh\\n[ "$1" = --version ] && echo Open MPI && exit\\necho "$*"\\n' >bin/mpirun
          chmod +x .build/release/gyre bin/mpirun
          """, folder.path,
        ])
      #expect(outcome.code == 0, "\(outcome.errors)")
    }

    /// Runs `Launch/local` with nothing in the environment but a PATH.
    func local(options: [String] = []) throws -> Outcome {
      try Script.run(
        "/usr/bin/env",
        ["-i", "PATH=\(folder.path)/bin:/usr/bin:/bin"] + options
          + ["\(folder.path)/Launch/local", "-n", "2", "attend"])
    }

    /// A compiler that says what it was called with.
    func addSwift(_ version: String = "6.3") throws {
      try FileManager.default.createDirectory(
        atPath: folder.path + "/bin", withIntermediateDirectories: true)
      try folder.write(
        """
        #!/bin/sh
        [ "$1" = --version ] && echo "Swift version \(version)" && exit
        echo "HOME=$HOME $*" >>\(folder.path)/calls
        touch \(folder.path)/.build/release/gyre
        """, to: "bin/swift", executable: true)
    }

    var calls: String {
      (try? String(contentsOfFile: folder.path + "/calls", encoding: .utf8)) ?? ""
    }

    func touchSource() throws {
      try FileManager.default.removeItem(atPath: folder.path + "/Sources/gyre/Gyre.swift")
      try folder.write("// changed", to: "Sources/gyre/Gyre.swift")
    }
  }

  @Test func whatIsBuiltAndCurrentRunsWithoutAToolchainOrAHome() throws {
    let package = try Package()
    let outcome = try package.local()
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output.hasSuffix("/.build/release/gyre attend\n"))
    #expect(outcome.errors == "")
  }

  @Test func whatIsNotBuiltOrNotCurrentIsSaid() throws {
    let package = try Package()
    Thread.sleep(forTimeInterval: 0.02)
    try package.touchSource()
    var outcome = try package.local()
    #expect(outcome.code == 1 && outcome.output == "")
    #expect(outcome.complaints.count == 1, "\(outcome.errors)")
    #expect(outcome.errors.contains("older than what it is built from"), "\(outcome.errors)")
    #expect(outcome.errors.contains("no Swift toolchain"), "\(outcome.errors)")
    try FileManager.default.removeItem(atPath: package.folder.path + "/.build")
    outcome = try package.local()
    #expect(outcome.code == 1 && outcome.output == "")
    #expect(outcome.errors.contains("is not built, and cannot be: no Swift"), "\(outcome.errors)")
  }

  /// With one way of calling the compiler, with and without a terminal, nothing is built anew.
  @Test func aBuildSaysSoAndIsTheSameWithAndWithoutATerminal() throws {
    let package = try Package()
    try package.addSwift()
    #expect(try package.local().errors == "" && package.calls == "")
    Thread.sleep(forTimeInterval: 0.02)
    try package.touchSource()
    let outcome = try package.local()
    #expect(outcome.code == 0)
    #expect(outcome.errors == "Launch/local: building gyre\n")
    Thread.sleep(forTimeInterval: 0.02)
    try package.touchSource()
    let terminal = try Script.run(
      "/usr/bin/script",
      [
        "--quiet", "--return", "--command",
        "env -i PATH=\(package.folder.path)/bin:/usr/bin:/bin \(package.folder.path)/Launch/local "
          + "-n 2 attend", "/dev/null",
      ])
    #expect(terminal.output.contains("building gyre"), "\(terminal.output)")
    let calls = package.calls.split(separator: "\n")
    #expect(calls.count == 2 && calls[0] == calls[1], "\(calls)")
    #expect(calls[0].contains("--no-color-diagnostics") && !calls[0].hasPrefix("HOME= "))
  }

  /// A checkout of somebody else's is run and not built.
  @Test(.enabled(if: getuid() == 0, "another user's checkout takes root to make"))
  func anothersCheckoutRuns() throws {
    let package = try Package()
    try package.addSwift()
    let asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    let outcome = try package.local(options: asNobody)
    #expect(outcome.code == 0 && outcome.errors == "", "\(outcome.errors)")
    Thread.sleep(forTimeInterval: 0.02)
    try package.touchSource()
    let refused = try package.local(options: asNobody)
    #expect(refused.code == 1)
    #expect(refused.errors.contains("is not yours to write"), "\(refused.errors)")
    #expect(package.calls == "")
  }
}

import Foundation
import TestSupport
import Testing

/// `Launch/install`, with builds only written down: one inside a test run would wait for its end.
@Suite struct InstallTests {
  private static let gyre = BuiltProducts.executable("gyre")

  /// What stands in for Swift: it notes what it is asked for, and its `generate-manual` writes a
  /// page.
  private func environment(_ folder: TemporaryFolder) throws -> [String: String] {
    var environment = try folder.shadowing(
      "swift",
      with: #"""
        if [ "$1" = --version ]; then echo "Swift version 6.3"; exit; fi
        echo "$*" >> "$(dirname "$0")/calls"
        while [ "$1" != --scratch-path ]; do shift; done
        mkdir -p "$2/release"
        printf '%s\n' '#!/bin/sh' \
          'while [ "$1" != --output-directory ]; do shift; done' \
          'echo ".Dd" > "$2/gyre.1"' > "$2/release/generate-manual"
        chmod +x "$2/release/generate-manual"
        """#)
    environment["GYRE_BINARY"] = Self.gyre
    // The scratch folder is in the package that the script belongs to: give it one of its own.
    let package = folder.url.appending(path: "package")
    try FileManager.default.createDirectory(at: package, withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      at: Script.root.appending(path: "Launch"), to: package.appending(path: "Launch"))
    return environment
  }

  private func install(
    _ arguments: String..., in folder: TemporaryFolder, _ environment: [String: String]
  ) throws -> Outcome {
    try Script.run(
      folder.path + "/package/Launch/install", arguments, environment: environment)
  }

  @Test func installsAndRemovesTheSameFiles() throws {
    let folder = try TemporaryFolder()
    let environment = try environment(folder)
    let prefix = folder.path + "/a prefix"
    try FileManager.default.createDirectory(atPath: prefix, withIntermediateDirectories: true)
    try folder.write("mine", to: "a prefix/mine")

    let installed = try install("--prefix", prefix, in: folder, environment)
    #expect(installed.code == 0, "\(installed)")
    #expect(installed.errors.contains("installed gyre in \(prefix)"))
    #expect(installed.errors.contains("\(prefix)/bin is not in PATH"))
    let calls = try String(contentsOfFile: folder.path + "/calls", encoding: .utf8)
    #expect(calls.split(separator: "\n").count == 1 && calls.contains("--product generate-manual"))

    func found(_ type: String) throws -> Set<String> {
      let found = try Script.run("/usr/bin/find", [prefix, "-type", type, "-printf", "%P\n"])
      return Set(found.output.split(separator: "\n").map(String.init))
    }
    func files() throws -> Set<String> { try found("f") }
    #expect(
      try files() == [
        "mine", "bin/gyre", "share/bash-completion/completions/gyre",
        "share/fish/vendor_completions.d/gyre.fish", "share/gyre/installed-files",
        "share/man/man1/gyre.1", "share/zsh/site-functions/_gyre",
      ])
    let version = try Script.run(prefix + "/bin/gyre", ["--version"])
    #expect(version.code == 0 && !version.output.isEmpty)

    // Once more over it, and a page of a command that is no more goes.
    try folder.write(".Dd", to: "a prefix/share/man/man1/gyre.old.1")
    let manifest = prefix + "/share/gyre/installed-files"
    let list = try String(contentsOfFile: manifest, encoding: .utf8)
    try folder.write(
      list + "share/man/man1/gyre.old.1\n", to: "a prefix/share/gyre/installed-files")
    #expect(try install("--prefix", prefix, in: folder, environment).code == 0)
    #expect(try !files().contains("share/man/man1/gyre.old.1"))

    #expect(try install("--prefix", prefix, "--uninstall", in: folder, environment).code == 0)
    #expect(try files() == ["mine"])
    // Folders that were made for it go too.
    #expect(try found("d").isEmpty)
    let again = try install("--prefix", prefix, "--uninstall", in: folder, environment)
    #expect(again.code == 1)
    #expect(again.errors.contains("nothing has been installed under '\(prefix)'"))
  }

  @Test func foldersThatWereThereOrAreInUseStay() throws {
    let folder = try TemporaryFolder()
    let environment = try environment(folder)
    let root = folder.url.appending(path: "new")
    let prefix = root.path + "/prefix"
    let manager = FileManager.default
    func exists(_ path: String) -> Bool { manager.fileExists(atPath: path) }

    // The prefix and the folder around it are made, and go.
    #expect(try install("--prefix", prefix, in: folder, environment).code == 0)
    #expect(try install("--prefix", prefix, "--uninstall", in: folder, environment).code == 0)
    #expect(!exists(root.path))

    // One that was there stays though it is empty, and one that is in use stays.
    try manager.createDirectory(
      atPath: prefix + "/share/man", withIntermediateDirectories: true)
    #expect(try install("--prefix", prefix, in: folder, environment).code == 0)
    try "mine".write(toFile: prefix + "/bin/mine", atomically: false, encoding: .utf8)
    // An installation over it does not forget what the first one made.
    #expect(try install("--prefix", prefix, in: folder, environment).code == 0)
    #expect(try install("--prefix", prefix, "--uninstall", in: folder, environment).code == 0)
    #expect(exists(prefix + "/share/man") && exists(prefix + "/bin/mine"))
    #expect(!exists(prefix + "/share/man/man1") && !exists(prefix + "/share/zsh"))
    #expect(try install("--prefix", prefix, in: folder, environment).code == 0)
    try manager.removeItem(atPath: prefix + "/bin/mine")
    #expect(try install("--prefix", prefix, "--uninstall", in: folder, environment).code == 0)
    #expect(exists(prefix + "/share/man"))
  }

  @Test func aDryRunTouchesNothing() throws {
    let folder = try TemporaryFolder()
    let environment = try environment(folder)
    let prefix = folder.path + "/prefix"
    let outcome = try install("--prefix=\(prefix)", "--dry-run", in: folder, environment)
    #expect(outcome.code == 0)
    #expect(outcome.output.contains("\(prefix)/bin/gyre\n"))
    #expect(outcome.output.contains("\(prefix)/share/man/man1/gyre.1\n"))
    #expect(!FileManager.default.fileExists(atPath: prefix))
    #expect(!folder.names.contains("calls"))
  }

  /// With a Python and a pip that only note what they are asked for.
  @Test func thePackageOfPythonGoesIntoAnEnvironment() throws {
    let folder = try TemporaryFolder()
    var environment = try environment(folder)
    try folder.write(
      #"""
      #!/bin/sh
      case "$*" in
      -) exit ;;
      *sysconfig*) echo /there/gyre && exit ;;
      esac
      echo "$* $GYRE_LIBRARY" >> "$(dirname "$0")/calls"
      """#, to: "python", executable: true)
    func calls() throws -> [Substring] {
      try String(contentsOfFile: folder.path + "/calls", encoding: .utf8).split(separator: "\n")
    }
    let python = "--python=\(folder.path)/python"

    let dry = try install(python, "--dry-run", in: folder, environment)
    #expect(dry.code == 0 && dry.output == "/there/gyre\n", "\(dry)")
    #expect(!folder.names.contains("calls"))

    environment["GYRE_LIBRARY"] = folder.path + "/none"
    let missing = try install(python, in: folder, environment)
    #expect(missing.code == 64 && missing.errors.contains("GYRE_LIBRARY names"))
    environment["GYRE_LIBRARY"] = Self.gyre
    let installed = try install(python, in: folder, environment)
    #expect(installed.code == 0, "\(installed)")
    #expect(installed.errors.contains("installed the package gyre for \(folder.path)/python."))
    let package = folder.path + "/package"
    #expect(try calls()[0].hasPrefix("-m pip install "))
    #expect(try calls()[0].hasSuffix(" \(package)/Python \(Self.gyre)"))
    // Without a name for the library: it is the one inside the package.
    #expect(try calls()[1].hasSuffix("import gyre "))

    // Without a library it is built.
    environment["GYRE_LIBRARY"] = ""
    try folder.write(
      #"""
      #!/bin/sh
      if [ "$1" = --version ]; then echo "Swift version 6.3"; exit; fi
      echo "swift $*" >> "$(dirname "$0")/calls"
      mkdir -p "$3/.build/release" && touch "$3/.build/release/libGyreC.so"
      """#, to: "swift", executable: true)
    #expect(try install(python, in: folder, environment).code == 0)
    #expect(try calls()[2].hasPrefix("swift build") && calls()[2].contains("--product GyreC"))
    #expect(try calls()[3].hasSuffix(" \(package)/.build/release/libGyreC.so"))

    let removed = try install(python, "--uninstall", in: folder, environment)
    #expect(removed.code == 0 && removed.errors.contains("removed the package"))
    #expect(try calls().last?.hasPrefix("-m pip uninstall") == true)
  }

  @Test func aPythonThatCannotBeInstalledFor() throws {
    let folder = try TemporaryFolder()
    let environment = try environment(folder)
    try folder.write(
      "#!/bin/sh\necho 'is Python 3.9; give 3.10 or newer.'", to: "old", executable: true)
    try folder.write("#!/bin/sh\nexit 1", to: "broken", executable: true)
    for (python, code, words) in [
      ("old", Int32(1), "is Python 3.9"), ("broken", 1, "no Python that works"),
      ("none", 64, "no command"),
    ] {
      let outcome = try install("--python=\(folder.path)/\(python)", in: folder, environment)
      #expect(outcome.code == code && outcome.errors.contains(words), "\(outcome)")
      #expect(outcome.complaints.count == 1)
    }
    let both = try install("--python", "--prefix", folder.path, in: folder, environment)
    #expect(both.code == 64 && both.errors.contains("--prefix"))
    #expect(try install("--python=", in: folder, environment).code == 64)
    #expect(!folder.names.contains("calls"))
  }

  @Test func whatCannotBeDoneIsSaidBeforeAnythingIsBuilt() throws {
    let folder = try TemporaryFolder()
    var environment = try environment(folder)
    try folder.write("", to: "file")
    let inAFile = try install("--prefix", folder.path + "/file/x", in: folder, environment)
    #expect(inAFile.code == 1)
    #expect(inAFile.errors.contains("'\(folder.path)/file' is no folder"))
    #expect(inAFile.complaints.count == 1)
    #expect(try install("--prefix", in: folder, environment).code == 64)
    #expect(try install("--prefix", "", in: folder, environment).code == 64)
    let unknown = try install("--perfix", in: folder, environment)
    #expect(unknown.code == 64 && unknown.errors.contains("'--perfix'"))
    environment["GYRE_BINARY"] = folder.path + "/none"
    let missing = try install("--prefix", folder.path + "/p", in: folder, environment)
    #expect(missing.code == 64 && missing.errors.contains("GYRE_BINARY"))
    #expect(!folder.names.contains("calls"))
  }
}

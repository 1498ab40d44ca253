import Foundation
import TestSupport
import Testing

/// `Launch/Dockerfile` and `Launch/gyre.def`, as far as they can be judged without building an
/// image.
@Suite struct ContainerTests {
  private static let recipes = ["Launch/Dockerfile", "Launch/gyre.def"]

  private func text(_ path: String) throws -> String {
    try String(contentsOf: Script.root.appending(path: path), encoding: .utf8)
  }

  /// The packages of each of a recipe's stages.
  private func packages(_ recipe: String) throws -> [[String]] {
    try text(recipe).split(separator: "--no-install-recommends").dropFirst().map { part in
      let command = part.prefix { $0 != "&" }.replacing("\\\n", with: " ").split(separator: "\n")[0]
      return command.split(separator: " ").map(String.init)
    }
  }

  /// What is copied from the package's folder.
  private func sources(_ recipe: String) throws -> [String] {
    let lines = try text(recipe).split(separator: "\n").map { $0.split(separator: " ") }
    if recipe.hasSuffix(".def") {
      return lines.filter { $0.count == 2 && $0[1].contains("/gyre/") && !$0[0].contains("/") }
        .map { String($0[0]) }
    }
    return lines.filter { $0.count == 3 && $0[0] == "COPY" }.map { String($0[1]) }
  }

  @Test(arguments: recipes) func whatIsCopiedIsInTheRepository(recipe: String) throws {
    let sources = try sources(recipe)
    #expect(Set(sources) == ["Package.swift", "Sources", "Examples", "Tests", "Launch"])
    for source in sources {
      let outcome = try Script.run("/usr/bin/env", ["git", "ls-files", "--error-unmatch", source])
      #expect(outcome.code == 0, "\(source)")
    }
  }

  /// SwiftPM looks for the folder of every target.
  @Test(arguments: recipes) func everyTargetIsCopied(recipe: String) throws {
    let manifest = try text("Package.swift")
    let sources = try sources(recipe)
    for path in manifest.split(separator: "path: \"").dropFirst().map({ $0.prefix { $0 != "\"" } })
    {
      #expect(sources.contains { path.hasPrefix("\($0)/") }, "\(path)")
    }
  }

  @Test func aBuildFolderStaysOutside() throws {
    let ignored = try text(".dockerignore").split(separator: "\n")
    #expect(ignored.contains(".build*") && ignored.contains(".git"))
  }

  /// What gyre is linked with, but for Swift's own libraries, which the images link in.
  @Test(arguments: recipes) func thePackagesAreEnoughForTheBinary(recipe: String) throws {
    let runtime = try #require(try packages(recipe).last)
    let script = """
      set -euo pipefail
      installed=$(apt-cache depends --recurse --installed --no-recommends --no-suggests \
        --no-conflicts --no-breaks --no-replaces --no-enhances "${@:2}" | grep '^[a-z]' | cut -d: -f1)
      libraries=$(env -u LD_PRELOAD ldd "$1" | grep -v -e /swift/ | grep -o 'lib[^ /]*\\.so[^ ]*' | sort -u)
      # One search for all: each reads the lists of all packages.
      dpkg -S $(sed 's,^,*/,' <<<"$libraries") | while IFS=: read -r package _ path; do
        grep -q -x -F -e "$package" <<<"$installed" || echo "$path is in $package"
        echo "${path##*/}" >&2
      done
      """
    let outcome = try Script.run(
      "/bin/bash", ["-fc", script, "bash", BuiltProducts.executable("gyre")] + runtime)
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output == "")
    #expect(outcome.complaints.contains { $0.hasPrefix("libmpi.so") }, "\(outcome.errors)")
  }

  @Test func bothImagesAreMadeAlike() throws {
    let images = try Self.recipes.map { try packages($0) }
    #expect(images.map(\.count) == [2, 2])
    #expect(images[0][0] == images[1][0])
    // Apptainer is started by the hosts' own mpirun.
    #expect(images[0][1].filter { $0 != "openssh-server" } == images[1][1])
    for recipe in Self.recipes {
      let text = try text(recipe)
      #expect(text.contains("swift build -c release --product gyre --static-swift-stdlib"))
      #expect(text.contains("swift:6.3-bookworm") && text.contains("debian:12-slim"))
    }
  }

  /// What an image runs by itself is the demo's problem, and this gyre understands it.
  @Test func theImagesRunTheDemo() throws {
    let image = try text("Launch/Dockerfile")
    let line = try #require(image.split(separator: "\n").last { $0.hasPrefix("CMD ") })
    let arguments = try JSONDecoder().decode([String].self, from: Data(line.dropFirst(4).utf8))
    #expect(try text("Launch/gyre.def").contains("set -- \(arguments.joined(separator: " "));"))
    #expect(try text("Launch/demo").contains("problem=1x16384x8x2x64\n"))
    #expect(image.contains(#"ENTRYPOINT ["/opt/gyre/Launch/local"]"#))
    let outcome = try Script.run(
      "Launch/local", arguments.map { $0 == "1x16384x8x2x64" ? "1x512x8x2x64" : $0 },
      environment: ["GYRE_BINARY": BuiltProducts.executable("gyre")])
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output.contains("512 tokens") && outcome.output.contains("passed"))
  }
}

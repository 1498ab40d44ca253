import Foundation
import PackagePlugin

/// Writes the commit that is checked out into a source file of the module BuildStamp.
///
/// The command runs again when a commit is made or another one checked out, and when a file of the
/// source changes, since that makes it a modified one.
@main
struct StampCommit: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
    let root = context.package.directoryURL
    let output = context.pluginWorkDirectoryURL.appending(path: "StampedCommit.swift")
    let sources = context.package.targets.compactMap { $0 as? any SourceModuleTarget }
      .flatMap { $0.sourceFiles.map(\.url) }
      // Not what this command writes.
      .filter { $0.path.hasPrefix(root.appending(path: "Sources").path + "/") }
    let script = root.appending(path: "Sources/StampCommit/stamp-commit")
    return [
      .buildCommand(
        displayName: "Stamping the commit", executable: script,
        arguments: [root.path, output.path],
        inputFiles: [script, root.appending(path: "Package.swift")] + sources
          + filesOfCheckout(root),
        outputFiles: [output])
    ]
  }

  /// Those that change with the commit that is checked out.
  private func filesOfCheckout(_ root: URL) -> [URL] {
    var folder = root.appending(path: ".git")
    // In a further worktree it is a file that names the folder.
    if let line = try? String(contentsOf: folder, encoding: .utf8), line.hasPrefix("gitdir: ") {
      let path = line.dropFirst("gitdir: ".count).trimmingCharacters(in: .newlines)
      folder = URL(filePath: path, relativeTo: root)
    }
    return ["HEAD", "logs/HEAD", "index"].map { folder.appending(path: $0).absoluteURL }
      .filter { FileManager.default.fileExists(atPath: $0.path) }
  }
}

package org.horosphere;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.net.JarURLConnection;
import java.net.URL;
import java.net.URLConnection;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Locale;
import java.util.jar.JarEntry;

/**
 * Finds native libraries: a directory named by the user, else the copy inside a jar, unpacked once
 * into a per-user cache.
 *
 * <p>The cache is {@code horosphere.cache.dir} (or {@code HOROSPHERE_CACHE_DIR}), else {@code
 * ~/.cache/horosphere}. A library lies there in a folder named by the hash of its contents (of
 * name, checksum and size inside a jar), written to a temporary file and moved into place, so that
 * two processes or two versions never disturb each other.
 */
public final class NativeLibraries {
    private NativeLibraries() {}

    /** A setting: the system property, or the environment variable spelled alike in upper case. */
    static String setting(String property) {
        String value = System.getProperty(property);
        return value != null
                ? value
                : System.getenv(property.toUpperCase(Locale.ROOT).replace('.', '_'));
    }

    /**
     * Unpacks classpath resources into one cache folder, under their own file names.
     *
     * @param loader where the resources are
     * @param resources absolute resource names; libraries that depend on each other belong into one
     *     call
     * @return the file of the first resource
     * @throws UnsatisfiedLinkError if a resource is missing or the cache cannot be written, with
     *     the reason
     */
    public static Path unpack(ClassLoader loader, String... resources) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            for (String resource : resources) {
                identify(loader, resource, digest);
            }
            Path folder = cache().resolve(HexFormat.of().formatHex(digest.digest(), 0, 8));
            Files.createDirectories(folder);
            for (String resource : resources) {
                Path file = folder.resolve(resource.substring(resource.lastIndexOf('/') + 1));
                if (!Files.exists(file)) {
                    write(loader, resource, file);
                }
            }
            String first = resources[0];
            return folder.resolve(first.substring(first.lastIndexOf('/') + 1));
        } catch (IOException e) {
            throw linkError(
                    "cannot unpack "
                            + resources[0]
                            + " into "
                            + cache()
                            + " (-Dhorosphere.cache.dir=DIR or HOROSPHERE_CACHE_DIR names another): "
                            + reason(e),
                    e);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }

    /**
     * Opens a library for the life of the process.
     *
     * @throws UnsatisfiedLinkError with the dynamic linker's own reason
     */
    static SymbolLookup open(Path file) {
        try {
            return SymbolLookup.libraryLookup(file, Arena.global());
        } catch (IllegalArgumentException e) {
            try {
                System.load(file.toAbsolutePath().toString());
            } catch (UnsatisfiedLinkError reason) {
                throw linkError(
                        reason.getMessage()
                                + " (where files may not be executed, -Dhorosphere.cache.dir=DIR or"
                                + " HOROSPHERE_CACHE_DIR names another cache)",
                        reason);
            }
            throw e;
        }
    }

    /**
     * A jar already holds a checksum of each entry; reading 90 MB at every start would cost half a
     * second.
     */
    private static void identify(ClassLoader loader, String resource, MessageDigest digest)
            throws IOException {
        URLConnection connection = find(loader, resource).openConnection();
        if (connection instanceof JarURLConnection jar) {
            JarEntry entry = jar.getJarEntry();
            String identity = resource + " " + entry.getCrc() + " " + entry.getSize() + "\n";
            digest.update(identity.getBytes(StandardCharsets.UTF_8));
            return;
        }
        try (InputStream in = new DigestInputStream(connection.getInputStream(), digest)) {
            in.transferTo(OutputStream.nullOutputStream());
        }
    }

    private static void write(ClassLoader loader, String resource, Path file) throws IOException {
        Path temporary = Files.createTempFile(file.getParent(), "unpack", ".tmp");
        try {
            try (InputStream in = find(loader, resource).openStream()) {
                Files.copy(in, temporary, StandardCopyOption.REPLACE_EXISTING);
            }
            try (FileChannel channel = FileChannel.open(temporary, StandardOpenOption.WRITE)) {
                channel.force(true);
            }
            Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
        } catch (FileAlreadyExistsException e) {
            // another process was faster; its file has the same contents
        } finally {
            Files.deleteIfExists(temporary);
        }
    }

    private static URL find(ClassLoader loader, String resource) throws IOException {
        URL url = loader.getResource(resource);
        if (url == null) {
            throw new IOException("no such resource on the class path: " + resource);
        }
        return url;
    }

    /** The JDK's own message is often only the path. */
    private static String reason(IOException e) {
        if (e instanceof NoSuchFileException) {
            return "no such file or directory";
        }
        if (e instanceof AccessDeniedException) {
            return "permission denied";
        }
        return e instanceof FileSystemException f && f.getReason() != null
                ? f.getReason()
                : e.getMessage();
    }

    private static Path cache() {
        String chosen = setting("horosphere.cache.dir");
        if (chosen != null) {
            return Path.of(chosen);
        }
        Path home = Path.of(System.getProperty("user.home"), ".cache", "horosphere");
        try {
            if (!Files.exists(home)) {
                Files.createDirectories(home.getParent());
                Files.createDirectory(
                        home,
                        PosixFilePermissions.asFileAttribute(
                                PosixFilePermissions.fromString("rwx------")));
            }
        } catch (IOException | UnsupportedOperationException e) {
            // reported by the write that follows
        }
        return home;
    }

    static UnsatisfiedLinkError linkError(String message, Throwable cause) {
        UnsatisfiedLinkError error = new UnsatisfiedLinkError(message);
        error.initCause(cause);
        return error;
    }
}

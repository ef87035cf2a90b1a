/**
 * Native hyperbolic-geometry and adapter kernels for the JVM.
 *
 * <p>Kernels work on memory the caller owns. They need native access: run Java with {@code
 * --enable-native-access=ALL-UNNAMED} (or {@code =org.horosphere} on the module path).
 */
package org.horosphere;

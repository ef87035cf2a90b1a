/** The {@code horo} command. */
package org.horosphere.cli;

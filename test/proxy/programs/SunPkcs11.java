// SPDX-License-Identifier: Apache-2.0

import java.io.PrintStream;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.Security;
import java.security.Signature;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.crypto.Cipher;

/**
 * What Java's own PKCS#11 provider does with a token: lists it, signs with both keys in
 * several ways, and decrypts. What came of it goes to standard output.
 * Arguments: the provider's configuration, and the PIN or "-".
 */
public class SunPkcs11 {
	private static final int INTERLEAVED = 300;
	private static final int THREADS = 16;
	private static final byte[] PART = "a part of the text ".getBytes();

	private final PrintStream out = System.out;
	private final Provider provider;
	private final KeyStore store;

	private SunPkcs11(String configuration, char[] pin) throws Exception {
		provider = Security.getProvider("SunPKCS11").configure(configuration);
		Security.addProvider(provider);
		store = KeyStore.getInstance("PKCS11", provider);
		store.load(null, pin);
	}

	private PrivateKey key(String alias) throws Exception {
		return (PrivateKey) store.getKey(alias, null);
	}

	private static String algorithm(String alias) {
		return alias.equals("rsa") ? "SHA256withRSA" : "SHA256withECDSA";
	}

	private boolean isGood(String alias, byte[] signature, int parts) throws Exception {
		Signature check = Signature.getInstance(algorithm(alias),
				alias.equals("rsa") ? "SunRsaSign" : "SunEC");
		check.initVerify(store.getCertificate(alias));
		for (int i = 0; i < parts; i++)
			check.update(PART);
		return check.verify(signature);
	}

	private byte[] sign(String alias) throws Exception {
		Signature signature = Signature.getInstance(algorithm(alias), provider);
		signature.initSign(key(alias));
		signature.update(PART);
		return signature.sign();
	}

	private void list() throws Exception {
		List<String> aliases = Collections.list(store.aliases());
		Collections.sort(aliases);
		for (String alias : aliases)
			out.println(alias + " key " + store.isKeyEntry(alias) + " " + store.getCertificate(alias).getPublicKey());
	}

	/** Half-done operations of one thread, many more than there are sessions. */
	private void interleave(String alias) throws Exception {
		List<Signature> begun = new ArrayList<>();
		List<MessageDigest> digests = new ArrayList<>();
		for (int i = 0; i < INTERLEAVED; i++) {
			Signature signature = Signature.getInstance(algorithm(alias), provider);
			signature.initSign(key(alias));
			signature.update(PART);
			begun.add(signature);
			MessageDigest digest = MessageDigest.getInstance("SHA-256", provider);
			digest.update(PART);
			digests.add(digest);
		}
		for (int i = 0; i < INTERLEAVED; i++) {
			begun.get(i).update(PART);
			digests.get(i).update(PART);
		}
		int good = 0;
		byte[] first = null;
		for (int i = 0; i < INTERLEAVED; i++) {
			good += isGood(alias, begun.get(i).sign(), 2) ? 1 : 0;
			byte[] digest = digests.get(i).digest();
			first = first == null ? digest : first;
			if (!MessageDigest.isEqual(first, digest))
				throw new Exception("digests differ");
		}
		out.println(alias + " interleaved " + good + " " + Base64.getEncoder().encodeToString(first));
	}

	private void signInThreads(String alias) throws Exception {
		ExecutorService threads = Executors.newFixedThreadPool(THREADS);
		List<Future<byte[]>> pending = new ArrayList<>();
		for (int i = 0; i < INTERLEAVED; i++)
			pending.add(threads.submit(() -> sign(alias)));
		int good = 0;
		for (Future<byte[]> signature : pending)
			good += isGood(alias, signature.get(), 1) ? 1 : 0;
		threads.shutdown();
		out.println(alias + " in threads " + good);
	}

	private void decrypt() throws Exception {
		Cipher cipher = Cipher.getInstance("RSA/ECB/PKCS1Padding", "SunJCE");
		cipher.init(Cipher.ENCRYPT_MODE, store.getCertificate("rsa").getPublicKey());
		byte[] encrypted = cipher.doFinal(PART);
		cipher = Cipher.getInstance("RSA/ECB/PKCS1Padding", provider);
		cipher.init(Cipher.DECRYPT_MODE, key("rsa"));
		out.println("decrypted " + new String(cipher.doFinal(encrypted)));
	}

	public static void main(String[] arguments) throws Exception {
		char[] pin = arguments[1].equals("-") ? null : arguments[1].toCharArray();
		SunPkcs11 token = new SunPkcs11(arguments[0], pin);
		token.list();
		token.out.println("rsa " + Base64.getEncoder().encodeToString(token.sign("rsa")));
		for (String alias : List.of("rsa", "ec")) {
			token.interleave(alias);
			token.signInThreads(alias);
		}
		token.decrypt();
	}
}
